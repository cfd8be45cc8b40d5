import { hashText } from "./rendezvous.ts";

/** Which endpoint at which cluster a session belongs to, both as hashes that tell nothing, and since when. */
export interface SessionTarget {
  readonly cluster: string;
  readonly endpoint: string;
  /** Seconds since the epoch. */
  readonly sinceS: number;
  /** Of the service, a hash as well; absent where nothing asked for one. */
  readonly version?: string;
}

const TOKEN = /^([0-9a-f]{8})\.([0-9a-f]{8})\.([0-9a-z]{1,10})(?:\.([0-9a-f]{8}))?$/;

/** Names an endpoint without telling its address; the same in every process and after every restart. */
export function opaqueName(text: string): string {
  return hashText(text).toString(16).padStart(8, "0");
}

export function encodeSession({ cluster, endpoint, sinceS, version }: SessionTarget): string {
  const token = `${cluster}.${endpoint}.${sinceS.toString(36)}`;
  return version === undefined ? token : `${token}.${version}`;
}

export function isExpired({ sinceS }: SessionTarget, now: number, timeoutMs: number | undefined): boolean {
  return timeoutMs !== undefined && now - sinceS * 1_000 > timeoutMs;
}

/** `undefined` for what is no token of ours: a value that the client chose itself. */
export function decodeSession(text: string): SessionTarget | undefined {
  const match = TOKEN.exec(text);
  const [, cluster, endpoint, since, version] = match ?? [];
  if (cluster === undefined || endpoint === undefined || since === undefined) return undefined;
  const sinceS = Number.parseInt(since, 36);
  return { cluster, endpoint, sinceS, ...(version === undefined ? {} : { version }) };
}

/** Value of one cookie of a Cookie field (RFC 6265 §4.2.1); the first of that name counts. */
export function cookieValue(field: string, name: string): string | undefined {
  let at = 0;
  while (at < field.length) {
    const semicolon = field.indexOf(";", at);
    const end = semicolon === -1 ? field.length : semicolon;
    while (field[at] === " " || field[at] === "\t") at += 1;
    if (field.startsWith(name, at) && field[at + name.length] === "=")
      return unquoted(field.slice(at + name.length + 1, end).trim());
    at = end + 1;
  }
  return undefined;
}

function unquoted(value: string): string {
  return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
}
