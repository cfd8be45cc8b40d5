import { type ConnectionOptions, readConnectionOptions } from "./connection-options.ts";
import { UPGRADE } from "./field-kinds.ts";
import { FieldTable } from "./field-table.ts";
import { forwardableLines } from "./forwardable.ts";
import {
  type BodyFraming,
  canonicalFraming,
  FRAMING_FIELDS,
  isCanonicalFraming,
  NO_BODY,
  readFraming,
  UNTIL_CLOSE,
} from "./framing.ts";
import { latin1 } from "./latin1.ts";
import { DEFAULT_HEAD_LIMITS, type HeadLimits, type HeadOutcome, invalid, NEED_MORE } from "./outcome.ts";
import { hasLineFeed } from "./request-line.ts";
import { readStatusLine, type StatusLine } from "./status-line.ts";

export interface ResponseHead {
  readonly status: number;
  readonly minor: 0 | 1;
  /** What follows the head. `until-close` ends where the connection does, so a reset there is not an end. */
  readonly body: BodyFraming;
  /** Whether the upstream connection may carry another request once this response is complete. */
  readonly keepAlive: boolean;
  /** 1xx other than 101: the real response is still to come. */
  readonly interim: boolean;
  /** The protocol switched to, with status 101 only. */
  readonly upgrade: string | undefined;
  /** What to write to the client (latin1), without the final empty line, always as HTTP/1.1. */
  readonly forwardable: string;
  /** `forwardable` with the final empty line as bytes, where the same head comes again and again. */
  readonly wire?: Buffer;
  /** The head as it arrived, without the final empty line; `headFields` takes it apart. */
  readonly received: string;
  readonly byteLength: number;
}

/** What must be known of the request to read its response. A RequestHead is one. */
export interface AnsweredRequest {
  readonly method: string;
  readonly upgrade?: string | undefined;
}

// Parsing is synchronous and never re-entered, so all heads can share these two.
const table = new FieldTable();
const line: StatusLine = { status: 0, minor: 1, reasonStart: 0, reasonEnd: 0, isMalformed: false };

/**
 * Parses the response head at [start, end); `scanned` as for requests. Whatever is wrong is `upstream_malformed`: the
 * client did nothing amiss, and the connection it came by is of no further use.
 */
export function parseResponseHead(
  buffer: Buffer,
  start: number,
  end: number,
  request: AnsweredRequest,
  limits: HeadLimits = DEFAULT_HEAD_LIMITS,
  scanned: number = start,
): HeadOutcome<ResponseHead> {
  const isFull = end - start >= limits.headBytes;
  if (scanned > start && !isFull && !hasLineFeed(buffer, scanned, end)) return NEED_MORE;
  const stop = isFull ? start + limits.headBytes : end;
  const fieldsStart = readStatusLine(buffer, start, stop, line);
  if (fieldsStart < 0) {
    if (line.isMalformed) return refused("the status line is not HTTP/1.1");
    return isFull ? refused("the status line has no end") : NEED_MORE;
  }
  const next = table.scan(buffer, fieldsStart, stop, limits.fields);
  if (next < 0) {
    const outcome = table.unfinished(next, isFull, limits);
    return outcome.kind === "invalid" ? refused(outcome.detail) : outcome;
  }
  const received = latin1(buffer, start, next - 2);
  table.attach(received, start);
  return judge(request, received, next - start);
}

function refused(detail: string): HeadOutcome<never> {
  return invalid("upstream_malformed", detail);
}

function judge(request: AnsweredRequest, received: string, byteLength: number): HeadOutcome<ResponseHead> {
  const framing = readFraming(table, line.minor);
  if (typeof framing === "string") return refused(framing);
  const options = readConnectionOptions(table);
  if (options.problem !== undefined) return refused(options.problem.detail);
  const { status, minor } = line;
  const upgrade = status === 101 ? grantedUpgrade(request, options) : undefined;
  if (status === 101 && upgrade === undefined) return refused("101 to a request that did not ask for it");
  const isBodyless = status < 200 || status === 204;
  const body = isBodyless || status === 304 || request.method === "HEAD" ? NO_BODY : (framing ?? UNTIL_CLOSE);
  // A server that announces a body where none can be may well send it: it would be taken for the next response.
  const isMisframed = isBodyless && framing !== undefined && framing !== NO_BODY;
  const persists = minor === 1 ? !options.close : options.keepAlive && !options.close;
  const head: ResponseHead = {
    status,
    minor,
    body,
    keepAlive: persists && body !== UNTIL_CLOSE && !isMisframed && status !== 101,
    interim: status < 200 && status !== 101,
    upgrade,
    forwardable: forwardable(isBodyless ? undefined : framing, isBodyless, options, upgrade),
    received,
    byteLength,
  };
  return { kind: "head", head };
}

/** The protocol, if the response switches to the very one that was asked for. */
function grantedUpgrade(request: AnsweredRequest, options: ConnectionOptions): string | undefined {
  const asked = request.upgrade;
  if (asked === undefined || !options.upgrade || !table.has(UPGRADE)) return undefined;
  const granted = table.values(UPGRADE);
  return granted.toLowerCase() === asked.toLowerCase() ? granted : undefined;
}

function forwardable(
  framing: BodyFraming | undefined,
  isBodyless: boolean,
  options: ConnectionOptions,
  upgrade: string | undefined,
): string {
  let without = isBodyless ? FRAMING_FIELDS : 0;
  let append = "";
  if (framing !== undefined && !isCanonicalFraming(table)) {
    without = FRAMING_FIELDS;
    append = canonicalFraming(framing);
  }
  if (upgrade !== undefined) append += `connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
  const lines = forwardableLines(table, without, options);
  return canonicalStatusLine(lines) + append;
}

/** Our own version, and the space that belongs before an empty reason; only then is the text built anew. */
function canonicalStatusLine(lines: string): string {
  if (line.minor === 1 && line.reasonStart === table.base + SPACE_AT + 1) return lines;
  const reason = table.slice(line.reasonStart, line.reasonEnd);
  return `HTTP/1.1 ${line.status} ${reason}${lines.slice(line.reasonEnd - table.base)}`;
}

// "HTTP/1.1 200" and then a space.
const SPACE_AT = 12;
