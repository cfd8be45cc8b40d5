/** A fenced block of a document, and the HTML comment just above it, which says what the block is to the tests. */
export interface Block {
  readonly language: string;
  readonly mark: string | undefined;
  readonly text: string;
}

export function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  const pattern = /(?:<!-- *([^>]*?) *-->\n+)?^```(\w*)\n([\s\S]*?)^```$/gm;
  for (const match of markdown.matchAll(pattern)) {
    blocks.push({ mark: match[1], language: match[2] ?? "", text: match[3] ?? "" });
  }
  return blocks;
}

/** Targets of links that lead into the repository. */
export function localLinksOf(markdown: string): string[] {
  return [...markdown.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] ?? "")
    .filter((target) => !/^[a-z]+:|^#/.test(target))
    .map((target) => target.replace(/#.*$/, ""));
}

/** One simple command of a shell script, as words; `\` joins lines, comments, redirections and `&` are dropped. */
export function commandsOf(script: string): string[][] {
  return withoutHereDocuments(script)
    .replace(/\\\n/g, " ")
    .split("\n")
    .flatMap((line) => line.split(/&&|\|\|?|;/))
    .map(wordsOf)
    .filter((words) => words.length > 0);
}

function withoutHereDocuments(script: string): string {
  return script.replace(/<<-?\s*['"]?(\w+)['"]?(.*)\n[\s\S]*?^\s*\1$/gm, "$2");
}

function wordsOf(command: string): string[] {
  const words = command.match(/(?:"[^"]*"|'[^']*'|[^\s"'#]|(?<=\S)#)+|#.*$/g) ?? [];
  const plain: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word.startsWith("#")) break;
    if (/^\d?[<>]/.test(word)) {
      if (/[<>]$/.test(word)) at++;
    } else if (word !== "&") plain.push(word.replace(/^(["'])(.*)\1$/, "$2"));
  }
  return plain;
}

/**
 * A transcript with everything masked that differs from run to run: measured times, ports, process ids, temporary
 * directories, tunnels and revisions of that moment. Runs of blanks count as one, since columns are as wide as their figures.
 */
export function maskFigures(transcript: string): string {
  return transcript
    .replace(/\b\d+(?:\.\d+)? ?(?:µs|ms|s|min|h|d)\b/g, "<time>")
    .replace(/\b\d+\/\d+ up\b/g, "<tunnels>")
    .replace(/(\bjoined +\d+ +\d+ +)\d+(?: \(\d+\/\d+\))?/g, "$1<revision>")
    .replace(/\b127\.0\.0\.1:\d+/g, "127.0.0.1:<port>")
    .replace(/\bpid \d+/g, "pid <pid>")
    .replace(/\/tmp\/[\w./-]+/g, "<directory>")
    .replace(/(?<![\d.])\d+\.\d+\.\d+(?![\d.])/g, "<version>")
    .replace(/[ \t]+/g, " ")
    .replace(/ $/gm, "")
    .trim();
}
