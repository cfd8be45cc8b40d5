import { hashText } from "./rendezvous.ts";

/** Which endpoint at which cluster a session belongs to: `<cluster>.<endpoint>`, both as hashes that tell nothing. */
export interface SessionTarget {
  readonly cluster: string;
  readonly endpoint: string;
}

const TOKEN = /^([0-9a-f]{8})\.([0-9a-f]{8})$/;

/** Names an endpoint without telling its address; the same in every process and after every restart. */
export function opaqueName(text: string): string {
  return hashText(text).toString(16).padStart(8, "0");
}

export function encodeSession({ cluster, endpoint }: SessionTarget): string {
  return `${cluster}.${endpoint}`;
}

/** `undefined` for what is no token of ours: a value that the client chose itself. */
export function decodeSession(text: string): SessionTarget | undefined {
  const match = TOKEN.exec(text);
  return match?.[1] === undefined || match[2] === undefined
    ? undefined
    : { cluster: match[1], endpoint: match[2] };
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
