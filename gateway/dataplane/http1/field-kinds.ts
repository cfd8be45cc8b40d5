/**
 * Which fields mean something to a proxy. Every other field is carried unread.
 */
import { FOLDED, UNDERSCORE } from "./octets.ts";

export const ORDINARY = 0;
export const HOST = 1;
export const CONTENT_LENGTH = 2;
export const TRANSFER_ENCODING = 3;
export const CONNECTION = 4;
export const UPGRADE = 5;
export const TE = 6;
export const EXPECT = 7;
export const VIA = 8;
/** Never carried further: it belongs to one hop only, or claims an identity that only we may state. */
export const DROPPED = 9;

export type FieldKind = number;

/** The kind's place in a set of kinds. */
export function bit(kind: FieldKind): number {
  return 1 << kind;
}

const NAMES: readonly (readonly [string, FieldKind])[] = [
  ["host", HOST],
  ["content-length", CONTENT_LENGTH],
  ["transfer-encoding", TRANSFER_ENCODING],
  ["connection", CONNECTION],
  ["upgrade", UPGRADE],
  ["te", TE],
  ["expect", EXPECT],
  ["via", VIA],
  ["keep-alive", DROPPED],
  ["proxy-connection", DROPPED],
  ["proxy-authenticate", DROPPED],
  ["proxy-authorization", DROPPED],
  ["proxy-authentication-info", DROPPED],
  ["http2-settings", DROPPED],
  // Fields by which proxies tell workloads who called: Envoy, RFC 9440, linkerd.
  ["x-forwarded-client-cert", DROPPED],
  ["client-cert", DROPPED],
  ["client-cert-chain", DROPPED],
  ["l5d-client-id", DROPPED],
];

/** Every field of ours begins so; a workload may send none of them. */
const OWN_PREFIX = Buffer.from("isthmus-", "latin1");
const OWN_FIRST = 0x69;

interface KnownName {
  readonly name: Buffer;
  readonly kind: FieldKind;
}

// By length, since the length alone rules out almost every ordinary name.
const KNOWN: readonly (readonly KnownName[] | undefined)[] = byLength();

function byLength(): (KnownName[] | undefined)[] {
  const longest = Math.max(...NAMES.map(([name]) => name.length));
  const table = Array.from({ length: longest + 1 }, (): KnownName[] | undefined => undefined);
  for (const [name, kind] of NAMES) (table[name.length] ??= []).push({ name: Buffer.from(name), kind });
  return table;
}

/**
 * The kind of the field name at [start, end). `Transfer_Encoding` is an ordinary name to us and `Transfer-Encoding` to a
 * server that folds `_`, so a name that means something only after folding is dropped rather than believed or forwarded.
 */
export function fieldKind(buffer: Buffer, start: number, end: number): FieldKind {
  const length = end - start;
  const first = FOLDED[buffer[start] as number];
  if (first === OWN_FIRST && length >= OWN_PREFIX.length && matches(OWN_PREFIX, buffer, start))
    return DROPPED;
  const candidates = length < KNOWN.length ? KNOWN[length] : undefined;
  if (candidates === undefined) return ORDINARY;
  for (let index = 0; index < candidates.length; index++) {
    const { name, kind } = candidates[index] as KnownName;
    if (name[0] === first && matches(name, buffer, start)) {
      return hasUnderscore(buffer, start, end) ? DROPPED : kind;
    }
  }
  return ORDINARY;
}

function matches(name: Buffer, buffer: Buffer, start: number): boolean {
  for (let index = 0; index < name.length; index++) {
    if (name[index] !== FOLDED[buffer[start + index] as number]) return false;
  }
  return true;
}

function hasUnderscore(buffer: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    if (buffer[at] === UNDERSCORE) return true;
  }
  return false;
}

const DROPPED_NAMES: ReadonlySet<string> = new Set(
  NAMES.filter(([, kind]) => kind === DROPPED).map(([name]) => name),
);
const FRAMING_NAMES: ReadonlySet<string> = new Set(NAMES.map(([name]) => name));
const OWN_TEXT = OWN_PREFIX.toString("latin1");

/** The same verdict on a name in lower case that came by HTTP/2: never carried further. */
export function isDroppedName(name: string): boolean {
  if (!name.includes("_")) return name.startsWith(OWN_TEXT) || DROPPED_NAMES.has(name);
  const folded = name.replaceAll("_", "-");
  return folded.startsWith(OWN_TEXT) || FRAMING_NAMES.has(folded);
}
