// Longer than other files: the life of one connection is one state machine over the same private state.
import type { Socket } from "node:net";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { FailureClass } from "../../../federation/model/traffic-route.ts";
import { FailedTries } from "../balance/failed-tries.ts";
import { editFields } from "../http1/edit-head.ts";
import { fieldValue } from "../http1/head-fields.ts";
import { DEFAULT_HEAD_LIMITS } from "../http1/outcome.ts";
import type { RequestHead } from "../http1/request-head.ts";
import { RequestHeadReader } from "../http1/request-head-reader.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import { Http1RequestView } from "../http1/request-view.ts";
import { localReply } from "../policy/local-reply.ts";
import { failureClass, isIdempotent, isUntouched, mayRepeat, retryPauseMs } from "../policy/retry.ts";
import type { CompiledRetry } from "../routing/compile-rule.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { AbortRequest, ForwardRequest } from "../routing/decide-request.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import {
  DRAIN_IDLE_MS,
  IDLE_TIMEOUT_MS,
  MIN_PROGRESS_BYTES,
  REQUEST_TIMEOUT_MS,
  STALLED_READER_MS,
} from "./client-patience.ts";
import type { Bagged } from "./bag.ts";
import type { Entry } from "./entry.ts";
import { BodyForwarder, MALFORMED } from "./http1-body.ts";
import { NO_TICKET, type Ticket } from "./exchange-ticket.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import type { Http1Stream } from "./http1-stream.ts";
import type { Mirrors } from "./mirrors.ts";
import { renderGrpcStatus, renderProblem, renderRedirect } from "./problem-reply.ts";
import { ignore } from "./relay.ts";
import { RequestRecord } from "./request-record.ts";
import { changedHead, RoutedRequest } from "./routed-request.ts";
import { SocketWriter } from "./socket-writer.ts";
import type { StreamPool } from "./stream-pool.ts";
import { withTrace } from "./trace-fields.ts";

const RESPONSE_TIMEOUT_MS = 300_000;
// The first try, one on a fresh stream when a reused one died, and one more when a gateway drained meanwhile.
const MAX_ATTEMPTS = 3;

/** Requests that faults may hold up at one time; the next ones pass at once. */
export const MAX_HELD = 1_000;

const NO_DEADLINE = 0;

const VIEW = new Http1RequestView();

/** What the listener does for its connections. */
export interface Http1Host {
  readonly entry: Entry;
  poolOf(target: EntryForward): StreamPool;
  /** Milliseconds, moved on once a second: deadlines need no better. */
  readonly coarseNow: number;
  readonly draining: boolean;
  readonly mirrors: Mirrors;
  /** Requests that a fault holds up. */
  held: number;
  closed(connection: Http1Connection): void;
  /** The connection speaks HTTP/2, as these first bytes of it say. */
  becameHttp2(connection: Http1Connection, bytes: Buffer): void;
}

/**
 * One workload's HTTP/1.1 connection. Requests are served one at a time: bytes of the next wait (and the socket is paused)
 * until the response is complete, so nothing is ever answered out of order and little is ever buffered.
 */
export class Http1Connection implements Http1Exchange, Bagged {
  bagSlot = -1;
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
  readonly #heads = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
  readonly #body = new BodyForwarder();
  #upstream: Http1Stream | undefined;
  /** Where the request under way goes. */
  #target: EntryForward | undefined;
  /** What the rule that it fits adds; `undefined` where no route is about the service. */
  #routed: RoutedRequest<string> | undefined;
  /** Where its tries have failed. */
  #failed: FailedTries | undefined;
  /** Counts requests, so that what comes late is told from what is under way. */
  #turn = 0;
  #ticket: Ticket = NO_TICKET;
  /** Nothing was read as HTTP/1.1 yet. */
  #isFresh = true;
  #isReleased = false;
  #active = false;
  #responded = false;
  #attempts = 0;
  #bodySent = false;
  #upgraded = false;
  #ended = false;
  #halfClosed = false;
  #pending: Buffer | undefined;
  #scanned = 0;
  #pauseTimer: NodeJS.Timeout | undefined;
  /** The request that a fault holds up; 0: none. */
  #heldTurn = 0;
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
    // Both come once at most; `once` would wrap each listener and take it off again.
    socket.on("end", () => this.#onEnd());
    socket.on("error", ignore);
    socket.on("close", () => this.#onClose());
  }

  received(bytes: number): void {
    this.record.received(bytes);
  }

  get body(): SocketWriter {
    return this.writer;
  }

  get passesUnchanged(): boolean {
    return (
      this.staysOpen && this.#routed?.routed.edits.response === undefined && this.#sessionFields() === ""
    );
  }

  /** Whether the connection outlives the response under way. */
  get staysOpen(): boolean {
    const nothingFollows = this.#halfClosed && this.#pending === undefined;
    const mayStay = this.request.keepAlive && this.requestDone && !this.#host.draining;
    return mayStay && !this.#ended && !nothingFollows;
  }

  /** While draining: ends the connection unless a request is under way or arriving, or may be. */
  endIfIdle(): void {
    const idleMs = this.#host.coarseNow - (this.deadlineMs - IDLE_TIMEOUT_MS);
    if (!this.#active && !this.#ended && this.#scanned === 0 && idleMs >= DRAIN_IDLE_MS) this.#finish();
  }

  // ---- from the upstream stream -------------------------------------------------------------------------------------

  /** Head and body as they came. */
  writeResponse(status: number, buffer: Buffer, at: number, end: number): void {
    this.#responded = true;
    this.record.answered(status);
    this.#ticket.answered(status, this.#upstream?.endpoint);
    this.writer.write(buffer, at, end);
  }

  /** The head as the workload should see it, in one write with the body where that is at hand (`buffer` from `bodyAt` to `end`). */
  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt = 0, end = 0): void {
    this.#responded = true;
    this.record.answered(head.status);
    this.#ticket.answered(head.status, this.#upstream?.endpoint);
    const { minor } = this.request;
    const edits = this.#routed?.routed.edits.response;
    const edited = edits === undefined ? head.forwardable : editFields(head.forwardable, edits);
    const text = (minor === 0 ? withoutChunked(edited) : edited) + this.#sessionFields();
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
    this.#routed?.end();
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
    this.#ticket.failed(reason, stream.endpoint);
    if (this.#responded) {
      this.record.refused(reason);
      return void this.socket.resetAndDestroy();
    }
    this.#noteFailure(failureClass(reason.name), stream.endpoint);
    if (this.#routed?.routed.rule.retry !== undefined) return this.#tryFailed(reason, stream.reused);
    if (this.#target !== undefined && this.#mayRepeat(stream, reason))
      return this.#attempt(this.#target, false);
    this.#refuse(reason);
  }

  /** A status that the rule takes for a failure. */
  declines(head: ResponseHead): boolean {
    const retry = this.#routed?.routed.rule.retry;
    if (retry === undefined || !isFailure(retry, head) || !this.#tryAgain(retry, false)) return false;
    this.#noteFailure(undefined, this.#upstream?.endpoint);
    this.#ticket.answered(head.status, this.#upstream?.endpoint);
    this.#upstream = undefined;
    return true;
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
    if (this.#isFresh && buffer[0] === PREFACE[0]) {
      if (startsWith(buffer, PREFACE)) return this.#release(buffer);
      if (startsWith(PREFACE, buffer)) return this.#awaitHead(buffer, 0);
    }
    this.#isFresh = false;
    this.#consume(buffer);
  }

  /** Leaves the socket to HTTP/2. */
  #release(buffer: Buffer): void {
    this.#isReleased = true;
    this.socket.removeAllListeners("data");
    this.#host.becameHttp2(this, buffer);
  }

  /** Takes heads and bodies off the buffer until it is used up or a response must come first. */
  #consume(buffer: Buffer): void {
    let at = 0;
    while (at < buffer.length && !this.socket.destroyed) {
      if (!this.#active) {
        if (this.socket.writableNeedDrain) return this.#keep(buffer, at);
        const outcome = this.#heads.read(buffer, at, buffer.length, at + this.#scanned);
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
    this.#turn += 1;
    const { entry, record } = this;
    const view = VIEW.of(head);
    record.start(view);
    const decision = entry.decide(view);
    switch (decision.kind) {
      case "forward":
        return this.#forward(head, decision);
      case "refuse":
        return this.#refuse(decision.problem, undefined, decision.retryAfterS);
      case "redirect":
        entry.countRule(decision.rule, "redirected");
        return this.#reply(decision.status, (close) => renderRedirect(decision, close));
      case "abort":
        entry.countRule(decision.rule, "aborted");
        if (decision.delayMs === 0) return this.#abort(decision);
        return this.#hold(decision.delayMs, () => this.#abort(decision));
    }
  }

  /** A gRPC client is told in its own words (trailers only, as a response without messages is). */
  #abort({ problem: reason, status, grpcCode }: AbortRequest): void {
    if (grpcCode === undefined || !isGrpc(this.request)) return this.#refuse(reason, status);
    this.entry.refused(reason);
    this.record.refused(reason);
    this.#reply(200, (close) => renderGrpcStatus(grpcCode, reason.detail, close));
  }

  #forward(head: RequestHead, { target, routed }: ForwardRequest): void {
    const { entry, record } = this;
    record.toward(target, routed === undefined ? "" : routed.rule.label);
    record.sent(head.byteLength);
    if (target.permit.wouldDeny) entry.counters.wouldDeny.value += 1;
    if (head.via !== undefined && passedThrough(head.via, entry.pseudonym))
      return this.#refuse(problem("loop", `Via names ${entry.pseudonym} already`));
    const ticket = entry.enter(target);
    if ("name" in ticket) return this.#refuse(ticket);
    this.#ticket = ticket;
    if (!this.requestDone) this.#body.reset(head.body, true);
    this.#moveDeadline();
    this.#target = target;
    if (routed === undefined) return this.#attempt(target, true);
    const hasBody = head.body.kind !== "none";
    this.#begin(target, new RoutedRequest(routed, changedHead(head, routed), hasBody));
  }

  #begin(target: EntryForward, request: RoutedRequest<string>): void {
    const { entry } = this;
    const { rule, delayMs } = request.routed;
    this.#routed = request;
    entry.countRule(rule, "forwarded");
    if (rule.retry !== undefined) entry.env.budgets.of(rule).request(rule.retry.budget, entry.env.now());
    request.limitRequest(() => this.#timedOut("the rule's request timeout is over"));
    if (delayMs > 0) {
      entry.countRule(rule, "delayed");
      this.#hold(delayMs, () => this.#attempt(target, true));
    } else this.#attempt(target, true);
    if (this.requestDone) this.#mirror();
  }

  /** A fault's delay: nothing of the request is sent, and nothing more of it is read. */
  #hold(delayMs: number, then: () => void): void {
    if (this.#host.held >= MAX_HELD) return then();
    this.#host.held += 1;
    this.#heldTurn = this.#turn;
    this.#pause(delayMs, () => {
      this.#endHold();
      then();
    });
  }

  #endHold(): void {
    if (this.#heldTurn === 0) return;
    this.#heldTurn = 0;
    this.#host.held -= 1;
  }

  /** Meanwhile the client's clock stands still. The socket is read on, so that a client that leaves is noticed. */
  #pause(ms: number, then: () => void): void {
    this.deadlineMs = this.#host.coarseNow + ms + RESPONSE_TIMEOUT_MS;
    this.#pauseTimer = setTimeout(() => {
      this.#pauseTimer = undefined;
      this.#moveDeadline();
      then();
      if (this.#active) this.#resumePending();
    }, ms);
  }

  /** Copies go out once the request itself has. */
  #mirror(): void {
    const request = this.#routed;
    if (request === undefined || request.routed.mirrors.length === 0) return;
    const { counters, pseudonym } = this.entry;
    const { copy, head } = request;
    if (copy?.overflowed === true || this.request.upgrade !== undefined)
      return void (counters.mirrorsOverBody.value += 1);
    for (const target of request.routed.mirrors) {
      const text = `${head}via: 1.1 ${pseudonym}\r\n\r\n`;
      this.#host.mirrors.send(target, this.request, text, copy?.chunks ?? [], this.#host.coarseNow);
    }
  }

  /** `mayReuse`: an idle stream will do; otherwise only a fresh one, so that one retry meets one cause. */
  #attempt(target: EntryForward, mayReuse: boolean): void {
    this.#attempts += 1;
    this.record.attempt();
    const sampled = this.#sampledTrace();
    const stream = this.#late(target, mayReuse, sampled);
    if (stream !== undefined) return this.#send(stream);
    this.socket.pause();
    const turn = this.#turn;
    this.entry.whenAvailable(target, (ready) => {
      if (this.socket.destroyed || turn !== this.#turn) return;
      const reason = this.entry.recheck(target);
      const late = ready && reason === undefined ? this.#late(target, mayReuse, sampled) : undefined;
      if (late === undefined) this.#cannotSend(reason ?? this.entry.unavailable(target));
      else this.#send(late);
      this.#resumePending();
    });
  }

  #late(target: EntryForward, mayReuse: boolean, sampled?: TraceContext): Http1Stream | undefined {
    const pool = this.#host.poolOf(target);
    const kept = mayReuse && sampled === undefined ? pool.take() : undefined;
    return kept ?? pool.open(sampled, this.#failed?.avoid(target.destination));
  }

  #send(stream: Http1Stream): void {
    const request = this.#routed;
    this.#upstream = stream;
    const { trace } = this.record;
    const head = request === undefined ? this.request.forwardable : request.head;
    const fields = trace === undefined ? head : withTrace(head, trace);
    stream.begin(this, `${fields}via: 1.1 ${this.entry.pseudonym}\r\n\r\n`);
    if (request === undefined) return;
    request.limitTry(() => this.#tryTimedOut());
    for (const chunk of request.copy?.chunks ?? []) stream.write(chunk, 0, chunk.length);
  }

  #cannotSend(reason: Problem): void {
    this.#noteFailure("connect-failure", undefined);
    this.#tryFailed(reason, false);
  }

  #noteFailure(failure: FailureClass | undefined, endpoint: string | undefined): void {
    if (this.#target === undefined) return;
    this.#failed ??= new FailedTries();
    this.#failed.add(this.#target.destination, endpoint, failure);
  }

  /** A try came to nothing: another one, where the rule allows it, or the end. */
  #tryFailed(reason: Problem, wasReused: boolean): void {
    const retry = this.#routed?.routed.rule.retry;
    const failure = failureClass(reason.name);
    if (retry === undefined || failure === undefined) return this.#refuse(reason);
    // A kept connection may end just when the next request sets out: that is no failure of the service.
    const isMeant =
      retry.on.has(failure) || (wasReused && failure === "reset") || failure === "refused-stream";
    if (!isMeant || !this.#tryAgain(retry, isUntouched(failure))) this.#refuse(reason);
  }

  /** Whether another try is on its way. */
  #tryAgain(retry: CompiledRetry, untouched: boolean): boolean {
    const [request, target] = [this.#routed, this.#target];
    if (request === undefined || target === undefined || request.retries >= retry.attempts) return false;
    if (!untouched && !mayRepeat(retry, this.request.method)) return false;
    const { counters, env } = this.entry;
    if (this.#bodySent && request.copy?.overflowed !== false) {
      counters.retriesOverBody.value += 1;
      return false;
    }
    if (!env.budgets.of(request.routed.rule).retry(retry.budget, env.now()) || !this.#ticket.mayRetry()) {
      counters.retriesOverBudget.value += 1;
      return false;
    }
    request.retries += 1;
    request.endTry();
    this.#pause(retryPauseMs(retry, request.retries, env.random()), () => {
      const next = this.#moveOn(target, request.routed.sources);
      const reason = this.entry.recheck(next);
      if (reason === undefined) this.#attempt(next, false);
      else this.#refuse(reason);
    });
    return true;
  }

  /** The next try may have another cluster for its target. */
  #moveOn(target: EntryForward, sources: readonly EntryForward[]): EntryForward {
    const moved = this.#failed === undefined ? undefined : this.entry.moveOn(target, sources, this.#failed);
    if (moved === undefined) return target;
    this.#ticket.moved();
    this.#ticket = moved.ticket;
    this.#target = moved.target;
    this.record.moved(moved.target);
    return moved.target;
  }

  #tryTimedOut(): void {
    const retry = this.#routed?.routed.rule.retry;
    if (this.#responded || retry?.on.has("timeout") !== true)
      return this.#timedOut("the rule's backendRequest timeout is over");
    this.#noteFailure("timeout", this.#upstream?.endpoint);
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#tryFailed(problem("upstream_timeout", "the rule's backendRequest timeout is over"), false);
  }

  /** A response that has begun can only be broken off. */
  #timedOut(detail: string): void {
    if (this.#responded) return void this.socket.resetAndDestroy();
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#refuse(problem("upstream_timeout", detail));
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
    const next = this.#body.forward(buffer, at, buffer.length, this.#routed?.copy?.to(upstream) ?? upstream);
    if (next === MALFORMED) {
      upstream.abort();
      this.#upstream = undefined;
      this.#reject(problem("http_framing", "the body's chunks are malformed"));
      return MALFORMED;
    }
    this.requestDone = this.#body.done;
    if (this.requestDone) this.#mirror();
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
    // Neither ever reached a workload.
    if (reason.name === "draining" || reason.name === "endpoint_unreachable") return true;
    const once = stream.reused || this.#attempts === 1;
    return reason.name === "upstream_reset" && isIdempotent(this.request.method) && once;
  }

  // ---- replies of our own and endings -------------------------------------------------------------------------------

  #refuse(reason: Problem, status?: number, retryAfterS?: number): void {
    const reply = localReply(reason.name);
    this.entry.refused(reason);
    const http = status ?? reply.http;
    this.record.refused(reason);
    const headOnly = this.request.method === "HEAD";
    this.#reply(http, (close) => renderProblem(reason, http, close, headOnly, retryAfterS), reply.close);
  }

  #reply(status: number, render: (close: boolean) => string, mustClose = false): void {
    const close = mustClose || !this.requestDone || !this.staysOpen;
    this.record.answered(status);
    this.writer.flush();
    this.socket.write(render(close), "utf8");
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

  /** The request is over, however it ended. */
  #forget(): void {
    this.#routed?.end();
    this.#routed = undefined;
    this.#failed = undefined;
    this.#turn += 1;
    clearTimeout(this.#pauseTimer);
    this.#pauseTimer = undefined;
    this.#endHold();
  }

  #becomeIdle(): void {
    this.record.end(true);
    this.#forget();
    this.#leave();
    this.#active = false;
    this.#responded = false;
    this.requestDone = true;
    this.deadlineMs = this.#host.coarseNow + IDLE_TIMEOUT_MS;
  }

  #closeAfter(): void {
    this.#ended = true;
  }

  /** Lingering close: the reply must reach a client that still sends (RFC 9112 §9.6). One that said it will not needs none. */
  #finish(): void {
    const isLast = this.#active && this.requestDone && this.#pending === undefined && !this.request.keepAlive;
    this.record.end(true);
    this.#forget();
    this.#leave();
    this.#ended = true;
    this.#active = false;
    this.#pending = undefined;
    this.#scanned = 0;
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.writer.flush();
    // The kernel has all of the reply: half-closing first would only cost the wait for the client's own end.
    if (isLast && this.socket.writableLength === 0) return void this.socket.destroy();
    this.socket.end();
    this.socket.removeAllListeners("data");
    this.socket.resume();
    this.deadlineMs = this.#host.coarseNow + 2_000;
  }

  #onDrain(): void {
    if (this.#isReleased) return;
    if (!this.#active) return this.#ended ? undefined : this.#next();
    this.#upstream?.resumeResponse();
    if (this.#upgraded) this.deadlineMs = NO_DEADLINE;
    else this.#moveDeadline();
  }

  /** Half-close after complete requests still gets their answers; half a request gets none. */
  #onEnd(): void {
    if (this.#isReleased) return;
    if (this.#upgraded) return void this.#upstream?.writable.end();
    this.#halfClosed = true;
    const waitsHere = this.#pending !== undefined && this.#scanned === 0;
    if (waitsHere) return;
    if (this.#active) {
      if (!this.requestDone) this.socket.resetAndDestroy();
    } else if (!this.#ended) {
      // A second end() would make an error with its stack, a tenth of what a short connection costs.
      this.socket.end();
    }
  }

  #onClose(): void {
    if (this.#isReleased) return;
    this.record.end(this.#upgraded);
    this.#forget();
    this.#leave();
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#host.closed(this);
  }

  /** Called about once a second by the listener. */
  expire(): void {
    const waitsForClient = this.#active ? !this.requestDone : this.#scanned > 0;
    if (waitsForClient && !this.#responded)
      return this.#reject(problem("http_timeout", "the request did not arrive in time"));
    if (this.#active && !this.#responded)
      return this.#timedOut(`no answer within ${RESPONSE_TIMEOUT_MS / 1000} s`);
    this.socket.destroy();
  }

  #leave(): void {
    const ticket = this.#ticket;
    this.#ticket = NO_TICKET;
    ticket.leave();
  }

  #sessionFields(): string {
    const { guard } = this.entry;
    if (this.#target === undefined || !guard.hasRules) return "";
    return guard.sessionFields(this.#target, VIEW.of(this.request), this.#upstream?.endpoint);
  }
}

function isFailure({ codes, grpcCodes }: CompiledRetry, head: ResponseHead): boolean {
  if (codes.has(head.status)) return true;
  return grpcCodes.size > 0 && grpcCodes.has(Number(fieldValue(head, "grpc-status") ?? "-1"));
}

function isGrpc(head: RequestHead): boolean {
  return fieldValue(head, "content-type")?.startsWith("application/grpc") === true;
}

// The part of HTTP/2's preface that looks like a request head (RFC 9113 §3.4).
const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\n", "latin1");

function startsWith(buffer: Buffer, start: Buffer): boolean {
  return buffer.length >= start.length && start.compare(buffer, 0, start.length) === 0;
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
