import { latin1 } from "./latin1.ts";
import { ASTERISK, CR, LF, SLASH, SP, TARGET, TOKEN } from "./octets.ts";
import { type Invalid, invalid, octetName } from "./outcome.ts";

/** `proxy`: absolute-form and CONNECT are read as well (RFC 9112 §3.2.2, §3.2.3); who asks for it compares them with Host. */
export type RequestForms = "origin" | "proxy";

/** A request line, filled in by `readRequestLine`: one object for all, since several results return at once. */
export interface RequestLine {
  method: string;
  targetStart: number;
  targetEnd: number;
  minor: 0 | 1;
  /** Why the line is refused; `undefined` while bytes are missing. */
  refusal: Invalid | undefined;
  /** Given by the caller. */
  forms: RequestForms;
}

/** The line is refused, or not yet complete if it carries no refusal. */
export const NO_LINE = -1;

// "HTTP/1." and the version's last digit.
const VERSION = Buffer.from("HTTP/1.", "latin1");
const VERSION_BYTES = VERSION.length + 1;
const LOWER_H = 0x68;

/** Reads the request line at `start`; answers the offset behind its CRLF, or NO_LINE. */
export function readRequestLine(buffer: Buffer, start: number, end: number, line: RequestLine): number {
  line.refusal = undefined;
  let at = start;
  while (at < end && TOKEN[buffer[at] as number] === 1) at++;
  if (at >= end) return NO_LINE;
  if (buffer[at] !== SP || at === start) return refuse(line, malformed(buffer, at, "the method"));
  line.method = methodName(buffer, start, at);
  const isConnect = line.method === "CONNECT";
  if ((isConnect && line.forms === "origin") || line.method === "TRACE") {
    return refuse(line, invalid("http_method", `${line.method} is not forwarded`));
  }
  const targetStart = ++at;
  while (at < end && TARGET[buffer[at] as number] === 1) at++;
  if (at >= end) return NO_LINE;
  if (buffer[at] !== SP || at === targetStart) return refuse(line, badTargetEnd(buffer, targetStart, at));
  line.targetStart = targetStart;
  line.targetEnd = at;
  const next = readVersion(buffer, at + 1, end, line);
  if (next < 0 || (buffer[targetStart] === SLASH && !isConnect)) return next;
  const refusal = line.forms === "proxy" ? undefined : judgeOtherForm(buffer, targetStart, at, line.method);
  return refusal === undefined ? next : refuse(line, refusal);
}

function refuse(line: RequestLine, refusal: Invalid): number {
  line.refusal = refusal;
  return NO_LINE;
}

function malformed(buffer: Buffer, at: number, where: string): Invalid {
  return invalid("http_malformed", `${octetName(buffer[at] as number)} in ${where}`);
}

/** The commonest names as constants: no string is made for them. */
function methodName(buffer: Buffer, start: number, end: number): string {
  const length = end - start;
  const first = buffer[start];
  const last = buffer[end - 1];
  if (length === 3 && first === 0x47 && buffer[start + 1] === 0x45 && last === 0x54) return "GET";
  if (
    length === 4 &&
    first === 0x50 &&
    buffer[start + 1] === 0x4f &&
    buffer[start + 2] === 0x53 &&
    last === 0x54
  ) {
    return "POST";
  }
  return latin1(buffer, start, end);
}

/** A line that ends behind its target is HTTP/0.9. */
function badTargetEnd(buffer: Buffer, targetStart: number, at: number): Invalid {
  if (buffer[at] === CR && at > targetStart) return invalid("http_version", "no version in the request line");
  return malformed(buffer, at, "the request target");
}

function judgeOtherForm(buffer: Buffer, start: number, end: number, method: string): Invalid | undefined {
  if (method === "OPTIONS" && end - start === 1 && buffer[start] === ASTERISK) return undefined;
  // The authority of an absolute target would overrule Host (RFC 9112, 3.2.2): a client that needs no proxy never sends it,
  // and one name per request is easier to keep honest than two that must agree.
  if (latin1(buffer, start, end).includes("://"))
    return invalid("http_host", "an absolute-form request target");
  return invalid("http_malformed", "a request target that does not begin with a slash");
}

function readVersion(buffer: Buffer, start: number, end: number, line: RequestLine): number {
  const after = start + VERSION_BYTES;
  if (after + 2 > end)
    return hasLineFeed(buffer, start, end) ? refuse(line, badVersion(buffer, start)) : NO_LINE;
  for (let index = 0; index < VERSION.length; index++) {
    if (buffer[start + index] !== VERSION[index]) return refuse(line, badVersion(buffer, start));
  }
  const minor = (buffer[after - 1] as number) - 0x30;
  if (minor !== 0 && minor !== 1) return refuse(line, badVersion(buffer, start));
  if (buffer[after] !== CR || buffer[after + 1] !== LF)
    return refuse(line, malformed(buffer, after, "the line's end"));
  line.minor = minor;
  return after + 2;
}

/** What begins like no version at all is the rest of a target with a space in it. */
function badVersion(buffer: Buffer, start: number): Invalid {
  return ((buffer[start] as number) | 0x20) === LOWER_H
    ? invalid("http_version", "a version other than HTTP/1.1 and HTTP/1.0")
    : invalid("http_malformed", "a space in the request target");
}

export function hasLineFeed(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (buffer[at] === LF) return true;
  }
  return false;
}
