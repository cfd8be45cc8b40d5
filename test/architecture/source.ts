/**
 * A small reader of TypeScript sources: enough to see what a file imports and which globals it touches, without a
 * compiler. Comments and the insides of strings are blanked first (offsets stay), so that neither can be mistaken for code.
 */
export interface ImportOf {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly dynamic: boolean;
}

const BLANK_TO_LINE_END = /[^\n]/g;
/** After one of these a `/` begins a regular expression, not a division. */
const BEFORE_REGEXP =
  /(?:^|[(,=:[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|in|of|void|throw|else|do|await|yield))\s*$/;

/** The source with comments, string contents and regular expressions replaced by spaces; `${…}` stays code. */
export function maskSource(source: string): string {
  let masked = "";
  let at = 0;
  const templates: number[] = [];
  const blank = (to: number) => {
    masked += source.slice(at, to).replace(BLANK_TO_LINE_END, " ");
    at = to;
  };
  const keep = () => {
    masked += source.charAt(at++);
  };
  const template = () => {
    const end = templateEnd(source, at);
    blank(end);
    if (source.startsWith("${", at)) {
      keep();
      keep();
      templates.push(0);
    } else keep();
  };
  while (at < source.length) {
    const char = source.charAt(at);
    const depth = templates.at(-1);
    if (source.startsWith("//", at)) blank(lineEnd(source, at));
    else if (source.startsWith("/*", at)) blank(after(source, "*/", at + 2));
    else if (char === '"' || char === "'") {
      keep();
      blank(quoteEnd(source, at, char));
      keep();
    } else if (char === "`") {
      keep();
      template();
    } else if (char === "}" && depth === 0) {
      templates.pop();
      keep();
      template();
    } else if (char === "/" && BEFORE_REGEXP.test(masked.slice(-40))) blank(regexpEnd(source, at));
    else {
      if (depth !== undefined && (char === "{" || char === "}"))
        templates[templates.length - 1] = depth + (char === "{" ? 1 : -1);
      keep();
    }
  }
  return masked;
}

const STATIC_IMPORT = /\b(?:import|export)\b(?:\s+(type)\b)?[\w\s{},*$]*?\bfrom\s*["']/g;
const BARE_IMPORT = /\bimport\s*["']/g;
const DYNAMIC_IMPORT = /\b(typeof\s+)?import\s*\(\s*["']/g;

/** Everything the file imports, in the order in which the kinds are listed here: static, for effect, dynamic. */
export function importsOf(source: string): ImportOf[] {
  const masked = maskSource(source);
  const find = (pattern: RegExp, dynamic: boolean): ImportOf[] =>
    [...masked.matchAll(pattern)].map((match) => {
      const start = match.index + match[0].length;
      const end = masked.indexOf(source.charAt(start - 1), start);
      return { specifier: source.slice(start, end), typeOnly: match[1] !== undefined, dynamic };
    });
  return [...find(STATIC_IMPORT, false), ...find(BARE_IMPORT, false), ...find(DYNAMIC_IMPORT, true)];
}

function lineEnd(source: string, from: number): number {
  const end = source.indexOf("\n", from);
  return end === -1 ? source.length : end;
}

function after(source: string, text: string, from: number): number {
  const found = source.indexOf(text, from);
  return found === -1 ? source.length : found + text.length;
}

function quoteEnd(source: string, from: number, quote: string): number {
  let at = from;
  while (at < source.length && source.charAt(at) !== quote && source.charAt(at) !== "\n")
    at += source.charAt(at) === "\\" ? 2 : 1;
  return Math.min(at, source.length);
}

/** Where the template's text ends: at its closing backtick or at the next `${`. */
function templateEnd(source: string, from: number): number {
  let at = from;
  while (at < source.length && source.charAt(at) !== "`" && !source.startsWith("${", at))
    at += source.charAt(at) === "\\" ? 2 : 1;
  return Math.min(at, source.length);
}

function regexpEnd(source: string, from: number): number {
  let inClass = false;
  for (let at = from + 1; at < source.length; at++) {
    const char = source.charAt(at);
    if (char === "\\") at++;
    else if (char === "[") inClass = true;
    else if (char === "]") inClass = false;
    else if (char === "\n") return at;
    else if (char === "/" && !inClass) return at + 1;
  }
  return source.length;
}
