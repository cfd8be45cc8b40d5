/** What a connection speaks, by the first bytes that its client sent. */
export type Spoken = "http1" | "http2" | "tls" | "tcp";

/** `more`: the bytes so far fit more than one protocol. */
export type Detection = Spoken | "more";

/** The client connection preface (RFC 9113 §3.4). */
const PREFACE = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

// RFC 9110 §9.3, PATCH (RFC 5789) and the registered ones that clients really send.
const KNOWN_METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "CONNECT",
  "OPTIONS",
  "TRACE",
  "PATCH",
  "PROPFIND",
  "REPORT",
  "MKCOL",
  "QUERY",
];
const MAX_METHOD = 24;

// A request line longer than this is refused by the HTTP parser anyway: let that say so.
const MAX_LINE = 8_192;

const SP = 0x20;
const CR = 0x0d;
const LF = 0x0a;
const HANDSHAKE_RECORD = 0x16;
const TLS_MAJOR = 0x03;

/**
 * Bytes decide, not a guess: HTTP/1 is a whole request line with its version, since text protocols (`GET key` of Redis and
 * memcached, `EHLO host`) begin just like it.
 */
export function detectProtocol(bytes: Uint8Array): Detection {
  const [first, second] = bytes;
  if (first === undefined) return "more";
  if (first === HANDSHAKE_RECORD) {
    if (second === undefined) return "more";
    return second === TLS_MAJOR ? "tls" : "tcp";
  }
  if (startsAlike(bytes, PREFACE)) return bytes.length >= PREFACE.length ? "http2" : "more";
  return detectRequestLine(bytes);
}

/**
 * When the time for it is over. A client that began a request line with a known method speaks HTTP, however slowly: to take
 * it for TCP would let a slow client around every rule for requests.
 */
export function detectAtLast(bytes: Uint8Array): Spoken {
  const detection = detectProtocol(bytes);
  if (detection !== "more") return detection;
  if (bytes.length === 0 || bytes[0] === HANDSHAKE_RECORD) return "tcp";
  if (startsAlike(bytes, PREFACE) && bytes.length >= "PRI *".length) return "http2";
  return KNOWN_METHODS.some((method) => startsAlike(bytes, `${method} `)) ? "http1" : "tcp";
}

function detectRequestLine(bytes: Uint8Array): Detection {
  let at = 0;
  while (at < bytes.length && isTokenByte(bytes[at])) at += 1;
  if (at > MAX_METHOD) return "tcp";
  if (at === bytes.length) return "more";
  if (at === 0 || bytes[at] !== SP) return "tcp";
  const targetAt = at + 1;
  for (at = targetAt; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === LF) return endsWithVersion(bytes, targetAt, at) ? "http1" : "tcp";
    if (byte < SP && byte !== CR) return "tcp";
  }
  return bytes.length > MAX_LINE ? "http1" : "more";
}

/** `HTTP/x.y` before the line's end, after a target and a space; which version it is, is the parser's business. */
function endsWithVersion(bytes: Uint8Array, from: number, lineEnd: number): boolean {
  const end = bytes[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
  const version = " HTTP/";
  const at = end - version.length - 3;
  if (at <= from) return false;
  for (let index = 0; index < version.length; index++) {
    if (bytes[at + index] !== version.charCodeAt(index)) return false;
  }
  return isDigit(bytes[end - 3]) && bytes[end - 2] === 0x2e && isDigit(bytes[end - 1]);
}

/** As far as both go. */
function startsAlike(bytes: Uint8Array, text: string): boolean {
  const length = Math.min(bytes.length, text.length);
  for (let index = 0; index < length; index++) {
    if (bytes[index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

/** Upper-case letters, digits, `-` and `_`: every registered method (RFC 9110 §16.1.1). */
function isTokenByte(byte: number | undefined): boolean {
  if (byte === undefined) return false;
  return (byte >= 0x41 && byte <= 0x5a) || isDigit(byte) || byte === 0x2d || byte === 0x5f;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}
