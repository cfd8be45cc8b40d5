import { COLON, DIGIT, HOST_NAME, IPV6 } from "./octets.ts";

const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const DOT = 0x2e;
// RFC 1035: the longest name there can be.
const MAX_NAME = 253;
const MAX_PORT_DIGITS = 5;

/**
 * Whether the Host value at [start, end) is `name`, `name:port`, `[v6]` or `[v6]:port`. User information, spaces, a
 * trailing dot and empty labels are refused: each gives one host two spellings, and only one would match a policy.
 */
export function isHost(buffer: Buffer, start: number, end: number): boolean {
  const nameEnd =
    buffer[start] === OPEN_BRACKET ? bracketedEnd(buffer, start, end) : namedEnd(buffer, start, end);
  if (nameEnd < 0) return false;
  return nameEnd === end || isPort(buffer, nameEnd, end);
}

function namedEnd(buffer: Buffer, start: number, end: number): number {
  let at = start;
  let previous = DOT;
  while (at < end) {
    const octet = buffer[at] as number;
    if (HOST_NAME[octet] === 0 || (octet === DOT && previous === DOT)) break;
    previous = octet;
    at++;
  }
  if (at - start > MAX_NAME || previous === DOT) return -1;
  return at;
}

function bracketedEnd(buffer: Buffer, start: number, end: number): number {
  let at = start + 1;
  while (at < end && IPV6[buffer[at] as number] === 1) at++;
  // `::` is the shortest address, and 45 characters the longest.
  const length = at - start - 1;
  return at < end && buffer[at] === CLOSE_BRACKET && length >= 2 && length <= 45 ? at + 1 : -1;
}

function isPort(buffer: Buffer, start: number, end: number): boolean {
  const digits = end - start - 1;
  if (buffer[start] !== COLON || digits < 1 || digits > MAX_PORT_DIGITS) return false;
  let port = 0;
  for (let at = start + 1; at < end; at++) {
    const octet = buffer[at] as number;
    if (DIGIT[octet] === 0) return false;
    port = port * 10 + (octet - 0x30);
  }
  return port <= 65_535;
}
