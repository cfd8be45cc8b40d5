// Longer than other files: the life of one connection is one state machine over the same private state.
import type { Socket } from "node:net";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { DEFAULT_HEAD_LIMITS } from "../http1/outcome.ts";
import { parseRequestHead, type RequestHead } from "../http1/request-head.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import { Http1RequestView } from "../http1/request-view.ts";
import { localReply } from "../policy/local-reply.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import type { Entry } from "./entry.ts";
import { BodyForwarder, MALFORMED } from "./http1-body.ts";
import type { Http1Stream } from "./http1-stream.ts";
import { renderProblem } from "./problem-reply.ts";
import { ignore } from "./relay.ts";
import { RequestRecord } from "./request-record.ts";
import { SocketWriter } from "./socket-writer.ts";
import type { StreamPool } from "./stream-pool.ts";
import { withTrace } from "./trace-fields.ts";

// From the first byte of a head to its last, and for the next MIN_PROGRESS_BYTES of a body: a slow client ends here.
const REQUEST_TIMEOUT_MS = 10_000;
// A body that trickles in more slowly than this holds a stream and a workload's thread for nothing.
const MIN_PROGRESS_BYTES = 100;
// A reader that takes nothing for this long is gone; until then it holds only its own stream's window.
const STALLED_READER_MS = 30_000;
const IDLE_TIMEOUT_MS = 120_000;
const RESPONSE_TIMEOUT_MS = 300_000;
// The first try, one on a fresh stream when a reused one died, and one more when a gateway drained meanwhile.
const MAX_ATTEMPTS = 3;

const NO_DEADLINE = 0;

const VIEW = new Http1RequestView();

/** What the listener does for its connections. */
export interface Http1Host {
  readonly entry: Entry;
  poolOf(target: EntryForward): StreamPool;
  /** Milliseconds, moved on once a second: deadlines need no better. */
  readonly coarseNow: number;
  readonly draining: boolean;
  closed(connection: Http1Connection): void;
}

/**
 * One workload's HTTP/1.1 connection. Requests are served one at a time: bytes of the next wait (and the socket is paused)
 * until the response is complete, so nothing is ever answered out of order and little is ever buffered.
 */
export class Http1Connection {
  readonly socket: Socket;
  /** For bytes that are on loan; what is written past it comes after a `flush`. */
  readonly writer: SocketWriter;
  readonly entry: Entry;
  readonly record: RequestRecord;
  /** The request under way; valid between its head and the end of its response. */
  request!: RequestHead;
  requestDone = true;
  deadlineMs: number;
  readonly #host: Http1Host;
  readonly #body = new BodyForwarder();
  #upstream: Http1Stream | undefined;
  /** Where the request under way goes. */
  #target: EntryForward | undefined;
  #active = false;
  #responded = false;
  #attempts = 0;
  #bodySent = false;
  #upgraded = false;
  #ended = false;
  #halfClosed = false;
  #pending: Buffer | undefined;
  #scanned = 0;
  /** Body bytes since the deadline was last moved. */
  #progress = 0;

  constructor(socket: Socket, host: Http1Host) {
    this.socket = socket;
    this.writer = new SocketWriter(socket);
    this.entry = host.entry;
    this.record = new RequestRecord(host.entry);
    this.#host = host;
    this.deadlineMs = host.coarseNow + IDLE_TIMEOUT_MS;
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    socket.on("drain", () => this.#onDrain());
    socket.once("end", () => this.#onEnd());
    socket.on("error", ignore);
    socket.once("close", () => this.#onClose());
  }

  /** Whether the connection outlives the response under way. */
  get staysOpen(): boolean {
    const nothingFollows = this.#halfClosed && this.#pending === undefined;
    const mayStay = this.request.keepAlive && this.requestDone && !this.#host.draining;
    return mayStay && !this.#ended && !nothingFollows;
  }

  /** While draining: ends the connection unless a request is under way or arriving. */
  endIfIdle(): void {
    if (!this.#active && !this.#ended && this.#scanned === 0) this.#finish();
  }

  // ---- from the upstream stream -------------------------------------------------------------------------------------

  /** Head and body as they came. */
  writeResponse(status: number, buffer: Buffer, at: number, end: number): void {
    this.#responded = true;
    this.record.answered(status);
    this.writer.write(buffer, at, end);
  }

  /** The head as the workload should see it, in one write with the body where that is at hand (`buffer` from `bodyAt` to `end`). */
  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt = 0, end = 0): void {
    this.#responded = true;
    this.record.answered(head.status);
    const { minor } = this.request;
    const text = minor === 0 ? withoutChunked(head.forwardable) : head.forwardable;
    const mustClose = !this.staysOpen || head.body.kind === "until-close" || minor === 0;
    if (mustClose) this.#closeAfter();
    const last = mustClose ? "connection: close\r\n\r\n" : "\r\n";
    this.writer.flush();
    if (buffer === undefined) this.socket.write(text + last, "latin1");
    else this.socket.write(joined(text + last, buffer, bodyAt, end));
  }

  /** HTTP/1.0 knows no interim answers (RFC 9110 §15.2). */
  writeInterim(head: string): void {
    this.writer.flush();
    if (this.request.minor === 1) this.socket.write(head, "latin1");
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (end > start && !this.writer.write(bytes, start, end)) this.awaitDrain();
  }

  /** Stops the response while the workload does not read; only this request's stream waits. */
  awaitDrain(): void {
    if (!this.socket.writableNeedDrain) return this.#moveDeadline();
    this.#upstream?.pauseResponse();
    this.deadlineMs = this.#host.coarseNow + STALLED_READER_MS;
  }

  resumeRequest(): void {
    if (this.#active && !(this.requestDone && this.#pending !== undefined)) this.socket.resume();
  }

  upgraded(): void {
    this.#upgraded = true;
    this.#responded = true;
    this.record.answered(101);
    this.deadlineMs = NO_DEADLINE;
    const early = this.#pending;
    this.#pending = undefined;
    if (early !== undefined) this.#upstream?.writable.write(early);
    this.socket.resume();
  }

  finishUpgraded(): void {
    this.writer.flush();
    this.socket.end();
  }

  responseDone(): void {
    this.#upstream = undefined;
    this.record.end(true);
    if (!this.requestDone || !this.staysOpen) return this.#finish();
    this.#becomeIdle();
    this.#next();
  }

  upstreamFailed(stream: Http1Stream, reason: Problem): void {
    this.#upstream = undefined;
    if (this.#responded) {
      this.record.refused(reason);
      return void this.socket.resetAndDestroy();
    }
    if (this.#target !== undefined && this.#mayRepeat(stream, reason))
      return this.#attempt(this.#target, false);
    this.#refuse(reason);
  }

  /** Cuts what the rules in force no longer permit. What waits for a tunnel is refused when one is ready. */
  recheck(): void {
    if (!this.#active || this.#upstream === undefined || this.#target === undefined) return;
    const reason = this.entry.recheck(this.#target);
    if (reason !== undefined) this.#cut(this.#upstream, reason);
  }

  #cut(upstream: Http1Stream, reason: Problem): void {
    upstream.abort();
    this.#upstream = undefined;
    if (!this.#responded) return this.#refuse(reason);
    this.record.refused(reason);
    this.entry.refused(reason);
    this.socket.resetAndDestroy();
  }

  // ---- from the workload --------------------------------------------------------------------------------------------

  #onData(chunk: Buffer): void {
    this.entry.counters.up.value += chunk.length;
    if (this.#upgraded) {
      this.record.sent(chunk.length);
      if (this.#upstream?.writable.write(chunk) === false) this.socket.pause();
      return;
    }
    const buffer = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = undefined;
    this.#consume(buffer);
  }

  /** Takes heads and bodies off the buffer until it is used up or a response must come first. */
  #consume(buffer: Buffer): void {
    let at = 0;
    while (at < buffer.length && !this.socket.destroyed) {
      if (!this.#active) {
        if (this.socket.writableNeedDrain) return this.#keep(buffer, at);
        const outcome = parseRequestHead(buffer, at, buffer.length, DEFAULT_HEAD_LIMITS, at + this.#scanned);
        if (outcome.kind === "need-more") return this.#awaitHead(buffer, at);
        this.#scanned = 0;
        if (outcome.kind === "invalid") return this.#reject(problem(outcome.problem, outcome.detail));
        at += outcome.head.byteLength;
        this.#start(outcome.head);
        if (this.#ended) return;
      } else if (!this.requestDone && this.#upstream !== undefined) {
        at = this.#forwardBody(buffer, at, this.#upstream);
        if (at === MALFORMED) return;
      } else {
        return this.#keep(buffer, at);
      }
    }
  }

  #start(head: RequestHead): void {
    this.request = head;
    this.requestDone = head.body.kind === "none";
    this.#active = true;
    this.#responded = false;
    this.#bodySent = false;
    this.#attempts = 0;
    const { entry, record } = this;
    const view = VIEW.of(head);
    record.start(view);
    const decision = entry.decide(view);
    if (decision.kind === "refuse") return this.#refuse(decision.problem);
    const { target } = decision;
    record.toward(target, "");
    record.sent(head.byteLength);
    if (target.permit.wouldDeny) entry.counters.wouldDeny.value += 1;
    if (head.via !== undefined && passedThrough(head.via, entry.pseudonym))
      return this.#refuse(problem("loop", `Via names ${entry.pseudonym} already`));
    if (!this.requestDone) this.#body.reset(head.body, true);
    this.#moveDeadline();
    this.#target = target;
    this.#attempt(target, true);
  }

  /** `mayReuse`: an idle stream will do; otherwise only a fresh one, so that one retry meets one cause. */
  #attempt(target: EntryForward, mayReuse: boolean): void {
    this.#attempts += 1;
    this.record.attempt();
    const pool = this.#host.poolOf(target);
    const sampled = this.#sampledTrace();
    const stream = (mayReuse && sampled === undefined ? pool.take() : undefined) ?? pool.open(sampled);
    if (stream !== undefined) return this.#send(stream);
    const upstream = this.entry.upstream(target);
    if (upstream === undefined) return this.#refuse(this.entry.unavailable(target));
    this.socket.pause();
    upstream.whenReady((ready) => {
      if (this.socket.destroyed) return;
      const reason = this.entry.recheck(target);
      const late = ready && reason === undefined ? this.#host.poolOf(target).open(sampled) : undefined;
      if (late === undefined) this.#refuse(reason ?? this.entry.unavailable(target));
      else this.#send(late);
      this.#resumePending();
    });
  }

  #send(stream: Http1Stream): void {
    this.#upstream = stream;
    const { trace } = this.record;
    const { forwardable } = this.request;
    const fields = trace === undefined ? forwardable : withTrace(forwardable, trace);
    stream.begin(this, `${fields}via: 1.1 ${this.entry.pseudonym}\r\n\r\n`);
  }

  #sampledTrace(): TraceContext | undefined {
    const { trace } = this.record;
    return trace?.sampled === true ? trace : undefined;
  }

  #resumePending(): void {
    this.socket.resume();
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.#consume(pending);
    if (this.#halfClosed) this.#onEnd();
  }

  /** On to the next request, unless the client does not even read its answers: those must not pile up here. */
  #next(): void {
    if (!this.socket.writableNeedDrain) return this.#resumePending();
    this.socket.pause();
    this.deadlineMs = this.#host.coarseNow + STALLED_READER_MS;
  }

  #forwardBody(buffer: Buffer, at: number, upstream: Http1Stream): number {
    this.#bodySent = true;
    const next = this.#body.forward(buffer, at, buffer.length, upstream);
    if (next === MALFORMED) {
      upstream.abort();
      this.#upstream = undefined;
      this.#reject(problem("http_framing", "the body's chunks are malformed"));
      return MALFORMED;
    }
    this.requestDone = this.#body.done;
    this.#progress += next - at;
    this.record.sent(next - at);
    if (this.requestDone || this.#progress >= MIN_PROGRESS_BYTES) this.#moveDeadline();
    if (upstream.writable.writableNeedDrain) {
      // The far side is slow, not the client: the client's clock stops.
      this.deadlineMs = this.#host.coarseNow + RESPONSE_TIMEOUT_MS;
      this.socket.pause();
    }
    return next;
  }

  #moveDeadline(): void {
    this.#progress = 0;
    if (this.#upgraded) return;
    const waitsForBody = !this.requestDone && !this.#responded;
    this.deadlineMs = this.#host.coarseNow + (waitsForBody ? REQUEST_TIMEOUT_MS : RESPONSE_TIMEOUT_MS);
  }

  #awaitHead(buffer: Buffer, at: number): void {
    if (this.#scanned === 0) this.deadlineMs = this.#host.coarseNow + REQUEST_TIMEOUT_MS;
    this.#pending = at === 0 ? buffer : buffer.subarray(at);
    this.#scanned = buffer.length - at;
  }

  #keep(buffer: Buffer, at: number): void {
    this.#pending = at === 0 ? buffer : buffer.subarray(at);
    this.socket.pause();
  }

  #mayRepeat(stream: Http1Stream, reason: Problem): boolean {
    if (this.#attempts >= MAX_ATTEMPTS || this.#bodySent || this.#ended) return false;
    if (reason.name === "draining") return true;
    const once = stream.reused || this.#attempts === 1;
    return reason.name === "upstream_reset" && isIdempotent(this.request.method) && once;
  }

  // ---- replies of our own and endings -------------------------------------------------------------------------------

  #refuse(reason: Problem): void {
    const reply = localReply(reason.name);
    this.entry.refused(reason);
    const close = reply.close || !this.requestDone || !this.staysOpen;
    this.record.answered(reply.http);
    this.record.refused(reason);
    const headOnly = this.request.method === "HEAD";
    this.writer.flush();
    this.socket.write(renderProblem(reason, reply.http, close, headOnly), "utf8");
    if (close) return this.#finish();
    this.#becomeIdle();
    this.#next();
  }

  /** A message that cannot be read: answer, close, and look at nothing that follows. */
  #reject(reason: Problem): void {
    this.entry.refused(reason);
    const { http } = localReply(reason.name);
    this.record.answered(http);
    this.record.refused(reason);
    this.writer.flush();
    if (!this.#responded) this.socket.write(renderProblem(reason, http, true, false), "utf8");
    this.#finish();
  }

  #becomeIdle(): void {
    this.record.end(true);
    this.#active = false;
    this.#responded = false;
    this.requestDone = true;
    this.deadlineMs = this.#host.coarseNow + IDLE_TIMEOUT_MS;
  }

  #closeAfter(): void {
    this.#ended = true;
  }

  /** Lingering close: the reply must reach a client that still sends (RFC 9112 §9.6). */
  #finish(): void {
    this.record.end(true);
    this.#ended = true;
    this.#active = false;
    this.#pending = undefined;
    this.#scanned = 0;
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.writer.flush();
    this.socket.end();
    this.socket.removeAllListeners("data");
    this.socket.resume();
    this.deadlineMs = this.#host.coarseNow + 2_000;
  }

  #onDrain(): void {
    if (!this.#active) return this.#ended ? undefined : this.#next();
    this.#upstream?.resumeResponse();
    if (this.#upgraded) this.deadlineMs = NO_DEADLINE;
    else this.#moveDeadline();
  }

  /** Half-close after complete requests still gets their answers; half a request gets none. */
  #onEnd(): void {
    if (this.#upgraded) return void this.#upstream?.writable.end();
    this.#halfClosed = true;
    const waitsHere = this.#pending !== undefined && this.#scanned === 0;
    if (waitsHere) return;
    if (!this.#active) this.socket.end();
    else if (!this.requestDone) this.socket.resetAndDestroy();
  }

  #onClose(): void {
    this.record.end(this.#upgraded);
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#host.closed(this);
  }

  /** Called about once a second by the listener. */
  expire(): void {
    const waitsForClient = this.#active ? !this.requestDone : this.#scanned > 0;
    if (waitsForClient && !this.#responded)
      return this.#reject(problem("http_timeout", "the request did not arrive in time"));
    if (this.#active && !this.#responded) return this.#timeOut();
    this.socket.destroy();
  }

  #timeOut(): void {
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#refuse(problem("upstream_timeout", `no answer within ${RESPONSE_TIMEOUT_MS / 1000} s`));
  }
}

/** RFC 9110 §9.2.2. */
function isIdempotent(method: string): boolean {
  return (
    method === "GET" || method === "HEAD" || method === "OPTIONS" || method === "PUT" || method === "DELETE"
  );
}

/** Whether a Via value has an element received by `pseudonym`: `[protocol/]version by [comment]`, comma-separated. */
export function passedThrough(via: string, pseudonym: string): boolean {
  return via.split(",").some((element) => element.trim().split(/[ \t]+/)[1] === pseudonym);
}

/** Two writes would be two system calls, each dearer than copying a small body. */
function joined(head: string, buffer: Buffer, bodyAt: number, end: number): Buffer {
  const whole = Buffer.allocUnsafe(head.length + end - bodyAt);
  whole.write(head, 0, "latin1");
  buffer.copy(whole, head.length, bodyAt, end);
  return whole;
}

function withoutChunked(head: string): string {
  return head.replace(/^transfer-encoding:[^\r\n]*\r\n/im, "");
}
