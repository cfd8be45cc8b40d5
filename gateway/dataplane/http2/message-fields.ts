/** What makes a request or response well-formed in HTTP/2 (RFC 9113 §8.1-8.3, §8.5). Names are legal octets already. */

/** `undefined`: well-formed; otherwise what is wrong. */
export type Malformed = string | undefined;

/** Fields that belong to one HTTP/1.1 connection (RFC 9113 §8.2.2). */
const CONNECTION_FIELDS: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

/** Fields that frame or route a message and so may not come after it (RFC 9110 §6.5.1). */
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  ...CONNECTION_FIELDS,
  "authorization",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "expect",
  "host",
  "max-forwards",
  "set-cookie",
  "te",
  "trailer",
]);

const METHOD = 1;
const SCHEME = 2;
const PATH = 4;
const AUTHORITY = 8;

const PSEUDO: ReadonlyMap<string, number> = new Map([
  [":method", METHOD],
  [":scheme", SCHEME],
  [":path", PATH],
  [":authority", AUTHORITY],
]);

export function malformedRequest(fields: readonly string[]): Malformed {
  let seen = 0;
  let isConnect = false;
  let at = 0;
  for (; at < fields.length && isPseudo(fields[at]); at += 2) {
    const name = fields[at] ?? "";
    const bit = PSEUDO.get(name);
    if (bit === undefined) return `a request has no ${name}`;
    if ((seen & bit) !== 0) return `${name} comes twice`;
    seen |= bit;
    const value = fields[at + 1] ?? "";
    if (bit === METHOD) isConnect = value === "CONNECT";
    if (value === "" && bit !== AUTHORITY) return `${name} is empty`;
  }
  if (isConnect) {
    if (seen !== (METHOD | AUTHORITY)) return "CONNECT has :method and :authority, and no more";
  } else if ((seen & (METHOD | SCHEME | PATH)) !== (METHOD | SCHEME | PATH)) {
    return ":method, :scheme or :path is missing";
  }
  return malformedRest(fields, at);
}

export function malformedResponse(fields: readonly string[]): Malformed {
  if (fields[0] !== ":status") return "a response begins with :status";
  if (!/^[1-5]\d\d$/.test(fields[1] ?? "")) return ":status is no status";
  return malformedRest(fields, 2);
}

/** A trailer that would change what was decided by the head is as bad as one that is illegal. */
export function malformedTrailers(fields: readonly string[]): Malformed {
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (isPseudo(name)) return `${name} in trailers`;
    if (NOT_IN_TRAILERS.has(name)) return `${name} in trailers`;
  }
  return undefined;
}

function malformedRest(fields: readonly string[], from: number): Malformed {
  for (let at = from; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    if (isPseudo(name)) return `${name} after other fields`;
    if (CONNECTION_FIELDS.has(name)) return `${name} in HTTP/2`;
    if (name === "te" && fields[at + 1] !== "trailers") return "te other than trailers";
  }
  return undefined;
}

function isPseudo(name: string | undefined): boolean {
  return name !== undefined && name.charCodeAt(0) === 0x3a;
}

/** -1: not said; -2: malformed, or said twice with different values. */
export function contentLength(fields: readonly string[]): number {
  let length = -1;
  for (let at = 0; at < fields.length; at += 2) {
    if (fields[at] !== "content-length") continue;
    const text = fields[at + 1] ?? "";
    if (!/^\d{1,15}$/.test(text)) return -2;
    if (length !== -1 && length !== Number(text)) return -2;
    length = Number(text);
  }
  return length;
}
