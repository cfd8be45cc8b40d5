import { Argument, Command as Commander, CommanderError, Option } from "commander";
import type { Result } from "../model/result.ts";
import { COMMANDS, type CommandSpec, NOUNS } from "./command-table.ts";
import { EXIT, type ExitCode } from "./exit.ts";
import { type Failure, fail, failureExit, renderFailure } from "./failure.ts";
import { createFlags, createInvocation, type Invocation } from "./invocation.ts";
import { FORMATS } from "./output/format.ts";
import { choosePaint } from "./output/paint.ts";
import type { Terminal } from "./terminal.ts";

/** What people try first; `version` is the command. */
const VERSION_FLAGS: readonly string[] = ["--version", "-V"];

/** Runs one command line; answers the exit code and never throws. */
export async function runProgram(args: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exit: ExitCode = EXIT.yes;
  const program = createProgram(terminal, async (spec, positional, options) => {
    exit = await runCommand(spec, positional, options, terminal);
  });
  try {
    const asked = VERSION_FLAGS.includes(args[0] ?? "") ? ["version", ...args.slice(1)] : args;
    await program.parseAsync([...asked], { from: "user" });
    return exit;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version are answers; everything else that commander throws is about how the line was typed.
    if (error.exitCode === 0) return EXIT.yes;
    const paint = choosePaint({ ...colorEnvironment(terminal), flag: undefined });
    if (error.code !== "commander.help") terminal.err(renderUsage(error, terminal, paint));
    return EXIT.usage;
  }
}

type Run = (
  spec: CommandSpec,
  positional: readonly string[],
  options: Readonly<Record<string, unknown>>,
) => Promise<void>;

function createProgram(terminal: Terminal, run: Run): Commander {
  const program = setUp(new Commander("isthmus"), terminal)
    .description("Joins services of different clusters without joining their networks.")
    .addHelpText("after", `\nStart here: ${terminal.program} demo`);
  const nouns = new Map<string, Commander>();
  for (const spec of COMMANDS) {
    const [first = "", second] = spec.path.split(" ");
    if (second === undefined) {
      const command = createCommand(spec, first, terminal, run);
      program.addCommand(command);
      // `registry` runs one, `registry export` does something to it.
      nouns.set(first, command);
      continue;
    }
    let noun = nouns.get(first);
    if (noun === undefined) {
      noun = setUp(new Commander(first), terminal)
        .description(NOUNS[first] ?? "")
        .helpGroup(`${spec.group}:`);
      nouns.set(first, noun);
      program.addCommand(noun);
    }
    noun.addCommand(createCommand(spec, second, terminal, run));
  }
  return program;
}

function createCommand(spec: CommandSpec, name: string, terminal: Terminal, run: Run): Commander {
  const command = setUp(new Commander(name), terminal).description(spec.summary).helpGroup(`${spec.group}:`);
  for (const { name: argument, summary } of spec.args ?? []) {
    command.addArgument(new Argument(argument, summary));
  }
  for (const { flags, summary, words } of spec.options) {
    const option = new Option(flags, summary);
    command.addOption(words === undefined ? option : option.choices(words));
  }
  return command.action(async () => {
    await run(spec, command.args, command.opts());
  });
}

function setUp(command: Commander, terminal: Terminal): Commander {
  return (
    command
      .exitOverride()
      // An option behind a command's name is that command's, also where its noun is a command that has the same one.
      .enablePositionalOptions()
      .helpOption("-h, --help", "show this help")
      .helpCommand(false)
      .allowExcessArguments(false)
      .configureOutput({
        writeOut: (text) => terminal.out(text.trimEnd()),
        writeErr: (text) => terminal.err(text.trimEnd()),
        // Errors are rendered once, by `renderUsage`.
        outputError: () => {},
      })
  );
}

async function runCommand(
  spec: CommandSpec,
  positional: readonly string[],
  options: Readonly<Record<string, unknown>>,
  terminal: Terminal,
): Promise<ExitCode> {
  const flags = createFlags(options);
  const format = FORMATS.find((known) => known === flags.text("output")) ?? "table";
  const invocation = createInvocation(terminal, positional, flags, format);
  const outcome = await settle(spec, invocation);
  if (outcome.ok) return outcome.value;
  terminal.err(renderFailure(outcome.error, invocation.paintErr));
  return failureExit(outcome.error);
}

/** A fault of our own ends like every other failure, with its stack for the report that its fix asks for. */
async function settle(spec: CommandSpec, invocation: Invocation): Promise<Result<ExitCode, Failure>> {
  try {
    const command = await spec.load();
    return await command(invocation);
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    const stack = error instanceof Error && error.stack !== undefined ? { lines: [error.stack] } : {};
    return fail("internal", `${spec.path}: ${detail}`, stack);
  }
}

function renderUsage(error: CommanderError, terminal: Terminal, paint: Invocation["paint"]): string {
  const detail = error.message.replace(/^error: /, "").replaceAll("\n", " ");
  const name = "usage" as const;
  return renderFailure({ name, detail, fix: `${terminal.program} --help` }, paint);
}

function colorEnvironment(terminal: Terminal) {
  return { noColor: terminal.env("NO_COLOR"), term: terminal.env("TERM"), terminal: terminal.errIsTerminal };
}
