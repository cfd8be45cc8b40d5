import { ok } from "../../model/result.ts";
import { COMMANDS, type CommandSpec } from "../command-table.ts";
import { EXIT } from "../exit.ts";
import { type Command, usage } from "../invocation.ts";

export const completion: Command = async ({ terminal, args }) => {
  const [shell = ""] = args;
  const script = SCRIPTS[shell];
  if (script === undefined) return usage(`no completion for ${shell}`, "bash, zsh or fish");
  terminal.out(script());
  return ok(EXIT.yes);
};

const SCRIPTS: { readonly [shell: string]: () => string } = {
  bash: bashScript,
  // zsh speaks bash's completion language once asked to.
  zsh: () => `autoload -U +X bashcompinit && bashcompinit\n${bashScript()}`,
  fish: fishScript,
};

/** What may follow a command: its subcommands, the words of its arguments and its options. */
function wordsAfter(path: string): readonly string[] {
  const deeper = COMMANDS.filter((spec) => path === "" || spec.path.startsWith(`${path} `));
  const depth = path === "" ? 0 : path.split(" ").length;
  const subcommands = deeper.map((spec) => spec.path.split(" ")[depth] ?? "");
  const own = COMMANDS.find((spec) => spec.path === path);
  return [...new Set([...subcommands, ...(own === undefined ? [] : ownWords(own))])].filter(Boolean);
}

function ownWords({ args, options }: CommandSpec): readonly string[] {
  const longFlags = options.flatMap(({ flags }) => /--[a-z-]+/.exec(flags)?.[0] ?? []);
  return [...(args ?? []).flatMap(({ words }) => words ?? []), ...longFlags, "--help"];
}

function paths(): readonly string[] {
  const nouns = COMMANDS.filter(({ path }) => path.includes(" ")).map(({ path }) => path.split(" ")[0] ?? "");
  return ["", ...new Set(nouns), ...COMMANDS.map(({ path }) => path)];
}

function bashScript(): string {
  const cases = paths().map((path) => `    "${path}") words="${wordsAfter(path).join(" ")}" ;;`);
  return `_isthmus() {
  local current="\${COMP_WORDS[COMP_CWORD]}" path="" word words=""
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) break ;; esac
    case "\${path:+$path }$word" in
${paths()
  .filter(Boolean)
  .map((path) => `      "${path}") path="${path}" ;;`)
  .join("\n")}
    esac
  done
  case "$path" in
${cases.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _isthmus isthmus`;
}

function fishScript(): string {
  const lines = COMMANDS.flatMap(({ path, summary, options }) => {
    const [first = "", second] = path.split(" ");
    const seen =
      second === undefined ? `__fish_seen_subcommand_from ${first}` : `__fish_seen_subcommand_from ${second}`;
    const place = second === undefined ? "__fish_use_subcommand" : `__fish_seen_subcommand_from ${first}`;
    const flags = options.flatMap(({ flags: text, summary: about }) => {
      const long = /--([a-z-]+)/.exec(text)?.[1];
      return long === undefined ? [] : [`complete -c isthmus -n "${seen}" -l ${long} -d ${quote(about)}`];
    });
    return [`complete -c isthmus -f -n "${place}" -a ${second ?? first} -d ${quote(summary)}`, ...flags];
  });
  return [...new Set(lines)].join("\n");
}

function quote(text: string): string {
  return `'${text.replaceAll("'", String.raw`\'`)}'`;
}
