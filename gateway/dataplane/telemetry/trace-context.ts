/** W3C Trace Context, as it crosses a hop. Ids are lower-case hex. */
export interface TraceContext {
  /** 32 digits, not all zero. */
  readonly traceId: string;
  /** 16 digits, not all zero: the span of whoever sent it. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** Vendors' entries, passed on as they came. */
  readonly tracestate?: string;
}

const VERSION_00 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
// A later version may only add to the end (Trace Context §3.2.4); ff is never valid.
const LATER_VERSION = /^(?!ff|00)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[\x21-\x7e]*)?$/;
const MAX_TRACEPARENT = 256;
const ZEROS = /^0+$/;
const SAMPLED = 0x01;

/**
 * Strict, as Trace Context §4.3 wants it: what does not parse counts as absent, and then `tracestate` does not count either.
 * Fields that came several times are joined by a comma, which no `traceparent` survives.
 */
export function parseTraceContext(
  traceparent: string | undefined,
  tracestate: string | undefined,
): TraceContext | undefined {
  if (traceparent === undefined || traceparent.length > MAX_TRACEPARENT) return undefined;
  const match = VERSION_00.exec(traceparent) ?? LATER_VERSION.exec(traceparent);
  if (match === null) return undefined;
  const [, traceId = "", spanId = "", flags = ""] = match;
  if (ZEROS.test(traceId) || ZEROS.test(spanId)) return undefined;
  const sampled = (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED;
  const state = parseTracestate(tracestate);
  return state === undefined ? { traceId, spanId, sampled } : { traceId, spanId, sampled, tracestate: state };
}

/** The `traceparent` field of version 00; of its flags only "sampled" is passed on. */
export function renderTraceparent({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}

// Trace Context §3.3: at most 32 members; a vendor may add more than 512 characters, but nobody has to pass them on.
const MAX_MEMBERS = 32;
const MAX_TRACESTATE = 512;
const MEMBER =
  /^(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;

/** `undefined` when it is absent, malformed or too long: half a list would say something that nobody said. */
function parseTracestate(text: string | undefined): string | undefined {
  if (text === undefined || text.length > MAX_TRACESTATE) return undefined;
  const members = text
    .split(",")
    .map((member) => member.replace(/^[ \t]+|[ \t]+$/g, ""))
    .filter((member) => member !== "");
  if (members.length === 0 || members.length > MAX_MEMBERS) return undefined;
  const keys = new Set(members.map((member) => member.slice(0, member.indexOf("="))));
  if (keys.size !== members.length || !members.every((member) => MEMBER.test(member))) return undefined;
  return members.join(",");
}
