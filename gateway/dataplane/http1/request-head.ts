import { type ConnectionOptions, readConnectionOptions } from "./connection-options.ts";
import { bit, EXPECT, HOST, UPGRADE, VIA } from "./field-kinds.ts";
import { FieldTable } from "./field-table.ts";
import { forwardableLines } from "./forwardable.ts";
import {
  type BodyFraming,
  canonicalFraming,
  FRAMING_FIELDS,
  isCanonicalFraming,
  NO_BODY,
  readFraming,
} from "./framing.ts";
import { isHost } from "./host.ts";
import { latin1 } from "./latin1.ts";
import { CR, LF } from "./octets.ts";
import {
  DEFAULT_HEAD_LIMITS,
  type HeadLimits,
  type HeadOutcome,
  headTooLarge,
  invalid,
  NEED_MORE,
} from "./outcome.ts";
import { hasLineFeed, readRequestLine, type RequestForms, type RequestLine } from "./request-line.ts";

export interface RequestHead {
  readonly method: string;
  /** Origin-form, or `*` for OPTIONS; where proxy forms are read, also absolute-form, and authority-form for CONNECT. */
  readonly target: string;
  /** The one Host value, lower case; empty only for an HTTP/1.0 request without one. */
  readonly host: string;
  readonly minor: 0 | 1;
  readonly body: BodyFraming;
  /** False for every HTTP/1.0 request: RFC 9112, 9.3 forbids a proxy to keep such a connection. */
  readonly keepAlive: boolean;
  /** The client waits for 100 before it sends its body. False where there is no body to wait for. */
  readonly expectContinue: boolean;
  /** The one protocol the client asks to switch to, as sent; `undefined` where we do not go along. */
  readonly upgrade: string | undefined;
  /** The Via values of the request, joined by `, `. */
  readonly via: string | undefined;
  /** What to write upstream (latin1), without the final empty line, so that fields can be appended. */
  readonly forwardable: string;
  /** The head as it arrived, without the final empty line; `headFields` takes it apart. */
  readonly received: string;
  /** Bytes of the buffer that the head took, with its final empty line and any empty line before it. */
  readonly byteLength: number;
}

// Parsing is synchronous and never re-entered, so all heads can share these two.
const table = new FieldTable();
const line: RequestLine = {
  method: "",
  targetStart: 0,
  targetEnd: 0,
  minor: 1,
  refusal: undefined,
  forms: "origin",
};

/**
 * Parses the request head at [start, end). A caller that was told `need-more` passes the former `end` as `scanned`, which
 * makes a head that arrives byte by byte cost what its bytes cost: without a line feed among the new bytes nothing can
 * have been completed.
 */
export function parseRequestHead(
  buffer: Buffer,
  start: number,
  end: number,
  limits: HeadLimits = DEFAULT_HEAD_LIMITS,
  scanned: number = start,
  forms: RequestForms = "origin",
): HeadOutcome<RequestHead> {
  line.forms = forms;
  const isFull = end - start >= limits.headBytes;
  if (scanned > start && !isFull && !hasLineFeed(buffer, scanned, end)) return NEED_MORE;
  const stop = isFull ? start + limits.headBytes : end;
  const lineStart = skipEmptyLine(buffer, start, stop);
  const fieldsStart = readRequestLine(buffer, lineStart, stop, line);
  if (fieldsStart < 0) return line.refusal ?? (isFull ? headTooLarge(limits) : NEED_MORE);
  const next = table.scan(buffer, fieldsStart, stop, limits.fields);
  if (next < 0) return table.unfinished(next, isFull, limits);
  const received = latin1(buffer, lineStart, next - 2);
  table.attach(received, lineStart);
  return judge(buffer, received, next - start);
}

/**
 * One empty line before the request line is skipped (RFC 9112, 2.2: some clients send one after a body); it is never
 * forwarded. A second one is no client's habit and is refused.
 */
function skipEmptyLine(buffer: Buffer, start: number, end: number): number {
  return start + 1 < end && buffer[start] === CR && buffer[start + 1] === LF ? start + 2 : start;
}

/** Judges the scanned head as a whole: what its fields mean together. */
function judge(buffer: Buffer, received: string, byteLength: number): HeadOutcome<RequestHead> {
  const hostProblem = checkHost(buffer);
  if (hostProblem !== undefined) return invalid("http_host", hostProblem);
  const framing = readFraming(table, line.minor);
  if (typeof framing === "string") return invalid("http_framing", framing);
  const options = readConnectionOptions(table);
  if (options.problem !== undefined) return invalid(options.problem.name, options.problem.detail);
  if (table.has(EXPECT) && !isKnownExpectation()) {
    return invalid("http_expectation", "an expectation other than 100-continue");
  }
  const body = framing ?? NO_BODY;
  const upgrade = options.upgrade && body === NO_BODY ? requestedUpgrade() : undefined;
  const expectContinue = table.has(EXPECT) && line.minor === 1 && body !== NO_BODY;
  const head: RequestHead = {
    method: line.method,
    target: table.slice(line.targetStart, line.targetEnd),
    host: table.has(HOST) ? table.value(table.rowOf(HOST)).toLowerCase() : "",
    minor: line.minor,
    body,
    keepAlive: line.minor === 1 && !options.close,
    expectContinue,
    upgrade,
    via: table.has(VIA) ? table.values(VIA) : undefined,
    forwardable: forwardable(framing, options, expectContinue, upgrade),
    received,
    byteLength,
  };
  return { kind: "head", head };
}

function checkHost(buffer: Buffer): string | undefined {
  if (!table.has(HOST)) return line.minor === 0 ? undefined : "no Host field";
  if (table.isRepeated(HOST)) return "more than one Host field";
  const row = table.rowOf(HOST);
  return isHost(buffer, table.valueStart(row), table.valueEnd(row))
    ? undefined
    : "the Host field is not host[:port]";
}

/** HTTP/1.0 has no expectations: there the field is ignored (RFC 9110, 10.1.1) and not forwarded. */
function isKnownExpectation(): boolean {
  if (line.minor === 0) return true;
  return !table.isRepeated(EXPECT) && table.value(table.rowOf(EXPECT)).toLowerCase() === "100-continue";
}

const PROTOCOL = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:\/[!#$%&'*+\-.^_`|~0-9A-Za-z]+)?$/;

/**
 * The protocol to switch to. `h2c` would open an HTTP/2 connection behind every decision made here per request, and a list
 * leaves the choice to the other side: both are treated as a request that did not ask (RFC 9110, 7.8 permits that).
 */
function requestedUpgrade(): string | undefined {
  if (line.minor === 0 || !table.has(UPGRADE) || table.isRepeated(UPGRADE)) return undefined;
  const protocol = table.value(table.rowOf(UPGRADE));
  return PROTOCOL.test(protocol) && protocol.toLowerCase() !== "h2c" ? protocol : undefined;
}

function forwardable(
  framing: BodyFraming | undefined,
  options: ConnectionOptions,
  expectContinue: boolean,
  upgrade: string | undefined,
): string {
  let without = expectContinue ? 0 : bit(EXPECT);
  let append = "";
  if (framing !== undefined && !isCanonicalFraming(table)) {
    without |= FRAMING_FIELDS;
    append = canonicalFraming(framing);
  }
  if (upgrade !== undefined) append += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  return forwardableLines(table, without, options) + append;
}
