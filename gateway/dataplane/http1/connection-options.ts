import { CONNECTION, CONTENT_LENGTH, fieldKind, HOST, TRANSFER_ENCODING } from "./field-kinds.ts";
import type { FieldTable } from "./field-table.ts";
import { TOKEN } from "./octets.ts";
import type { ProblemName } from "../../../federation/model/problem.ts";

/** What the Connection fields of one head ask for. */
export interface ConnectionOptions {
  readonly close: boolean;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
  /** Fields that belong to this hop only, lower case. */
  readonly named: readonly string[];
  readonly problem?: { readonly name: ProblemName; readonly detail: string };
}

const NOTHING_NAMED: readonly string[] = Object.freeze([]);

export const NO_OPTIONS: ConnectionOptions = options(false, false, false);
const CLOSE = options(true, false, false);
const KEEP_ALIVE = options(false, true, false);

function options(close: boolean, keepAlive: boolean, upgrade: boolean): ConnectionOptions {
  return Object.freeze({ close, keepAlive, upgrade, named: NOTHING_NAMED });
}

// More than any client sends; without it 32 KiB of commas would be compared with every field.
const MAX_OPTIONS = 32;

export function readConnectionOptions(table: FieldTable): ConnectionOptions {
  if (!table.has(CONNECTION)) return NO_OPTIONS;
  if (table.isRepeated(CONNECTION)) return parseOptions(table.values(CONNECTION).toLowerCase());
  const value = table.value(table.rowOf(CONNECTION)).toLowerCase();
  if (value === "keep-alive") return KEEP_ALIVE;
  return value === "close" ? CLOSE : parseOptions(value);
}

function parseOptions(list: string): ConnectionOptions {
  let close = false;
  let keepAlive = false;
  let upgrade = false;
  const named: string[] = [];
  for (const member of list.split(",")) {
    const option = trimOws(member);
    if (option === "") continue;
    if (option === "close") close = true;
    else if (option === "keep-alive") keepAlive = true;
    else if (option === "upgrade") upgrade = true;
    else if (option !== "te") named.push(option);
  }
  const problem = namedProblem(named);
  const found = { close, keepAlive, upgrade, named };
  return problem === undefined ? found : { ...found, problem };
}

function trimOws(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && (text[start] === " " || text[start] === "\t")) start++;
  while (end > start && (text[end - 1] === " " || text[end - 1] === "\t")) end--;
  return text.slice(start, end);
}

/** Removing Host or the framing because Connection names them would turn one request into another. */
function namedProblem(named: readonly string[]): ConnectionOptions["problem"] {
  if (named.length > MAX_OPTIONS) {
    return { name: "http_malformed", detail: `more than ${MAX_OPTIONS} connection options` };
  }
  for (const option of named) {
    const octets = Buffer.from(option, "latin1");
    if (!octets.every((octet) => TOKEN[octet] === 1)) {
      return { name: "http_malformed", detail: "a connection option is not a token" };
    }
    const kind = fieldKind(octets, 0, octets.length);
    if (kind === HOST) return { name: "http_host", detail: "Connection names Host" };
    if (kind === CONTENT_LENGTH || kind === TRANSFER_ENCODING) {
      return { name: "http_framing", detail: "Connection names a framing field" };
    }
  }
  return undefined;
}
