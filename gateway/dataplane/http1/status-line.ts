import { CR, DIGIT, FIELD_VALUE, LF, SP, ZERO } from "./octets.ts";
import { hasLineFeed } from "./request-line.ts";

/** A status line, filled in by `readStatusLine`: one object for all, since several results return at once. */
export interface StatusLine {
  status: number;
  minor: 0 | 1;
  /** Where the reason phrase begins, which may be empty. */
  reasonStart: number;
  reasonEnd: number;
  isMalformed: boolean;
}

/** The line is refused, or not yet complete if it is not malformed. */
export const NO_STATUS_LINE = -1;

const PREFIX = Buffer.from("HTTP/1.", "latin1");
// "HTTP/1.1 200"
const CODE_AT = PREFIX.length + 2;
const CODE_END = CODE_AT + 3;

/** Reads the status line at `start`; answers the offset behind its CRLF, or NO_STATUS_LINE. */
export function readStatusLine(buffer: Buffer, start: number, end: number, line: StatusLine): number {
  line.isMalformed = false;
  const codeEnd = start + CODE_END;
  if (codeEnd + 2 > end) return hasLineFeed(buffer, start, end) ? malformed(line) : NO_STATUS_LINE;
  for (let index = 0; index < PREFIX.length; index++) {
    if (buffer[start + index] !== PREFIX[index]) return malformed(line);
  }
  const minor = (buffer[start + PREFIX.length] as number) - ZERO;
  if ((minor !== 0 && minor !== 1) || buffer[start + CODE_AT - 1] !== SP) return malformed(line);
  line.minor = minor;
  line.status = readCode(buffer, start + CODE_AT);
  if (line.status < 100) return malformed(line);
  return readReason(buffer, codeEnd, end, line);
}

function malformed(line: StatusLine): number {
  line.isMalformed = true;
  return NO_STATUS_LINE;
}

function readCode(buffer: Buffer, start: number): number {
  let code = 0;
  for (let at = start; at < start + 3; at++) {
    const octet = buffer[at] as number;
    if (DIGIT[octet] === 0) return 0;
    code = code * 10 + (octet - ZERO);
  }
  return code;
}

/** The space before an empty reason is required, but many servers leave it out, so its absence is read as an empty one. */
function readReason(buffer: Buffer, start: number, end: number, line: StatusLine): number {
  if (buffer[start] !== SP && buffer[start] !== CR) return malformed(line);
  let at = buffer[start] === SP ? start + 1 : start;
  line.reasonStart = at;
  while (at < end && FIELD_VALUE[buffer[at] as number] === 1) at++;
  if (at >= end) return NO_STATUS_LINE;
  if (buffer[at] !== CR) return malformed(line);
  if (at + 1 >= end) return NO_STATUS_LINE;
  if (buffer[at + 1] !== LF) return malformed(line);
  line.reasonEnd = at;
  return at + 2;
}
