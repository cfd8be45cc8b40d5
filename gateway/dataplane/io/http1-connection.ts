// Longer than other files: the life of one request, its tries included, is one state machine over the same private state.
import type { Socket } from "node:net";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { FailureClass } from "../../../federation/model/traffic-route.ts";
import { FailedTries } from "../balance/failed-tries.ts";
import { editFields } from "../http1/edit-head.ts";
import { fieldValue } from "../http1/head-fields.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import { Http1RequestView } from "../http1/request-view.ts";
import { localReply } from "../policy/local-reply.ts";
import { failureClass, isIdempotent, isUntouched, mayRepeat } from "../policy/retry.ts";
import type { CompiledRetry } from "../routing/compile-rule.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { AbortRequest, ForwardRequest } from "../routing/decide-request.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import { DRAIN_IDLE_MS } from "./client-patience.ts";
import type { Bagged } from "./bag.ts";
import type { Entry } from "./entry.ts";
import type { BodyTarget } from "./http1-body.ts";
import { type DownstreamHost, Http1Downstream, type RequestServer } from "./http1-downstream.ts";
import { NO_TICKET, type Ticket } from "./exchange-ticket.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import type { Http1Stream } from "./http1-stream.ts";
import type { Mirrors } from "./mirrors.ts";
import { renderGrpcStatus, renderProblem, renderRedirect } from "./problem-reply.ts";
import { ignore } from "./relay.ts";
import { RequestRecord } from "./request-record.ts";
import { changedHead, RoutedRequest } from "./routed-request.ts";
import type { StreamPool } from "./stream-pool.ts";
import { withTrace } from "./trace-fields.ts";

const RESPONSE_TIMEOUT_MS = 300_000;
// The first try, one on a fresh stream when a reused one died, and one more when a gateway drained meanwhile.
const MAX_ATTEMPTS = 3;

/** Requests that faults may hold up at one time; the next ones pass at once. */
export const MAX_HELD = 1_000;

const VIEW = new Http1RequestView();

/** What the listener does for its connections. */
export interface Http1Host extends DownstreamHost {
  readonly entry: Entry;
  poolOf(target: EntryForward): StreamPool;
  readonly mirrors: Mirrors;
  /** Requests that a fault holds up. */
  held: number;
  closed(connection: Http1Connection): void;
  /** The connection speaks HTTP/2, as these first bytes of it say. */
  becameHttp2(connection: Http1Connection, bytes: Buffer): void;
}

/** One workload's HTTP/1.1 connection. */
export class Http1Connection implements Http1Exchange, RequestServer, Bagged {
  bagSlot = -1;
  readonly socket: Socket;
  readonly entry: Entry;
  readonly record: RequestRecord;
  readonly #host: Http1Host;
  readonly #downstream: Http1Downstream;
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
  #attempts = 0;
  #pauseTimer: NodeJS.Timeout | undefined;
  /** The request that a fault holds up; 0: none. */
  #heldTurn = 0;

  constructor(socket: Socket, host: Http1Host) {
    this.socket = socket;
    this.entry = host.entry;
    this.record = new RequestRecord(host.entry);
    this.#host = host;
    this.#downstream = new Http1Downstream(socket, this, host, RESPONSE_TIMEOUT_MS);
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

  get request(): RequestHead {
    return this.#downstream.request;
  }

  get requestDone(): boolean {
    return this.#downstream.requestDone;
  }

  get body(): BodyTarget {
    return this.#downstream.writer;
  }

  get deadlineMs(): number {
    return this.#downstream.deadlineMs;
  }

  get coarseNow(): number {
    return this.#host.coarseNow;
  }

  get passesUnchanged(): boolean {
    const isEdited = this.#routed?.routed.edits.response !== undefined;
    return this.#downstream.staysOpen && !isEdited && this.#sessionFields() === "";
  }

  /** While draining: ends the connection unless a request is under way or arriving, or may be. */
  endIfIdle(): void {
    if (this.#downstream.isIdle(DRAIN_IDLE_MS)) this.#finish();
  }

  // ---- from the upstream stream -------------------------------------------------------------------------------------

  writeResponse(status: number, buffer: Buffer, at: number, end: number): void {
    this.record.answered(status);
    this.#ticket.answered(status, this.#upstream?.endpoint);
    this.#downstream.pass(buffer, at, end);
  }

  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt?: number, end?: number): void {
    this.record.answered(head.status);
    this.#ticket.answered(head.status, this.#upstream?.endpoint);
    const edits = this.#routed?.routed.edits.response;
    const edited = edits === undefined ? head.forwardable : editFields(head.forwardable, edits);
    if (buffer === undefined) this.#sendAtOnce();
    this.#downstream.respond(head, edited + this.#sessionFields(), buffer, bodyAt, end);
  }

  writeInterim(head: string): void {
    this.#sendAtOnce();
    this.#downstream.inform(head);
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (end > start && !this.#downstream.writer.write(bytes, start, end)) this.awaitDrain();
  }

  awaitDrain(): void {
    if (this.#downstream.isBehind()) this.#upstream?.pauseResponse();
  }

  resumeRequest(): void {
    this.#downstream.resumeBody();
  }

  upgraded(): void {
    this.#sendAtOnce();
    this.#routed?.end();
    this.record.answered(101);
    this.#ticket.answered(101, this.#upstream?.endpoint);
    const early = this.#downstream.upgrade();
    if (early !== undefined) this.#upstream?.writable.write(early);
    if (this.#downstream.hasEnded) this.#upstream?.writable.end();
    this.socket.resume();
  }

  finishUpgraded(): void {
    this.#downstream.writer.flush();
    this.socket.end();
  }

  responseDone(): void {
    this.#upstream = undefined;
    this.record.end(true);
    if (!this.#downstream.staysOpen) return this.#finish();
    this.#becomeIdle();
    this.#downstream.next();
  }

  upstreamFailed(stream: Http1Stream, reason: Problem): void {
    this.#upstream = undefined;
    this.#ticket.failed(reason, stream.endpoint);
    if (this.#downstream.hasResponded) {
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
    if (!this.#downstream.isActive || this.#upstream === undefined || this.#target === undefined) return;
    const reason = this.entry.recheck(this.#target);
    if (reason !== undefined) this.#cut(this.#upstream, reason);
  }

  #cut(upstream: Http1Stream, reason: Problem): void {
    upstream.abort();
    this.#upstream = undefined;
    if (!this.#downstream.hasResponded) return this.#refuse(reason);
    this.record.refused(reason);
    this.entry.refused(reason);
    this.socket.resetAndDestroy();
  }

  // ---- from the workload --------------------------------------------------------------------------------------------

  #onData(chunk: Buffer): void {
    this.entry.counters.up.value += chunk.length;
    if (this.#downstream.isUpgraded) {
      this.record.sent(chunk.length);
      if (this.#upstream?.writable.write(chunk) === false) this.socket.pause();
      return;
    }
    const buffer = this.#downstream.withPending(chunk);
    if (this.#isFresh && buffer[0] === PREFACE[0]) {
      if (startsWith(buffer, PREFACE)) return this.#release(buffer);
      if (startsWith(PREFACE, buffer)) return this.#downstream.awaitHead(buffer, 0);
    }
    this.#isFresh = false;
    this.#downstream.read(buffer);
  }

  /** Leaves the socket to HTTP/2. */
  #release(buffer: Buffer): void {
    this.#isReleased = true;
    this.socket.removeAllListeners("data");
    this.#host.becameHttp2(this, buffer);
  }

  serve(head: RequestHead): void {
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
    this.#downstream.expectBody(true);
    this.#downstream.moveDeadline();
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
    request.limitRequest(this);
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
    this.#downstream.deadlineMs = this.#host.coarseNow + ms + RESPONSE_TIMEOUT_MS;
    this.#pauseTimer = setTimeout(() => {
      this.#pauseTimer = undefined;
      this.#downstream.moveDeadline();
      then();
      if (this.#downstream.isActive) this.#downstream.resume();
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
    this.#await(target, mayReuse, sampled);
  }

  #await(target: EntryForward, mayReuse: boolean, sampled?: TraceContext): void {
    const { entry } = this;
    const downstream = this.#downstream;
    const turn = this.#turn;
    const hasLeft = (): boolean => this.socket.destroyed || turn !== this.#turn;
    downstream.watchEnd();
    entry.whenAvailable(target, {
      tryAgain: (ready) => {
        if (hasLeft()) return false;
        const reason = entry.recheck(target);
        const mayTry = ready && reason === undefined;
        const late = mayTry ? this.#late(target, mayReuse, sampled) : undefined;
        if (late === undefined && mayTry && entry.isFull(target)) return true;
        downstream.moveDeadline();
        if (late === undefined) this.#cannotSend(reason ?? entry.unavailable(target));
        else this.#send(late);
        downstream.resume();
        return false;
      },
      get client() {
        if (hasLeft()) return "gone";
        return downstream.hasEnded ? "ended" : "here";
      },
      giveWay: () => {
        entry.guard.beyondBound(target);
        this.#refuse(problem("circuit_open", "who ended its half gave its place to another that would wait"));
      },
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
    request.limitTry(this);
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
    if (request === undefined || target === undefined) return false;
    if (!untouched && !mayRepeat(retry, this.request.method)) return false;
    const pauseMs = request.retryMs(retry, this.entry, this.#ticket, this.#downstream.hasSentBody);
    if (pauseMs === undefined) return false;
    this.#pause(pauseMs, () => {
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

  onRequestTimeout(): void {
    this.#timedOut("the rule's request timeout is over");
  }

  onTryTimeout(): void {
    const retry = this.#routed?.routed.rule.retry;
    if (this.#downstream.hasResponded || retry?.on.has("timeout") !== true)
      return this.#timedOut("the rule's backendRequest timeout is over");
    const reason = problem("upstream_timeout", "the rule's backendRequest timeout is over");
    this.#noteFailure("timeout", this.#upstream?.endpoint);
    this.#giveUp(reason);
    this.#tryFailed(reason, false);
  }

  /** A response that has begun can only be broken off. */
  #timedOut(detail: string): void {
    const reason = problem("upstream_timeout", detail);
    this.#giveUp(reason);
    if (this.#downstream.hasResponded) return void this.socket.resetAndDestroy();
    this.#refuse(reason);
  }

  /** A try that takes too long is as much a failure as one that breaks off. */
  #giveUp(reason: Problem): void {
    const upstream = this.#upstream;
    if (upstream === undefined) return;
    this.#upstream = undefined;
    this.#ticket.failed(reason, upstream.endpoint);
    upstream.abort();
  }

  #sampledTrace(): TraceContext | undefined {
    const { trace } = this.record;
    return trace?.sampled === true ? trace : undefined;
  }

  get bodyTarget(): BodyTarget | undefined {
    const upstream = this.#upstream;
    return upstream === undefined ? undefined : (this.#routed?.copy?.to(upstream) ?? upstream);
  }

  bodySent(bytes: number): boolean {
    if (this.requestDone) this.#mirror();
    this.record.sent(bytes);
    return this.#upstream?.writable.writableNeedDrain !== true;
  }

  #mayRepeat(stream: Http1Stream, reason: Problem): boolean {
    if (this.#attempts >= MAX_ATTEMPTS || this.#downstream.hasSentBody || this.#downstream.isEnding)
      return false;
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
    const close = mustClose || !this.#downstream.staysOpen;
    this.record.answered(status);
    this.#downstream.reply(render(close));
    if (close) return this.#finish();
    this.#becomeIdle();
    this.#downstream.next();
  }

  /** A message that cannot be read: answer, close, and look at nothing that follows. */
  reject(reason: Problem): void {
    this.entry.refused(reason);
    const { http } = localReply(reason.name);
    this.record.answered(http);
    this.record.refused(reason);
    if (!this.#downstream.hasResponded) this.#downstream.reply(renderProblem(reason, http, true, false));
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
    this.#sendAtOnce();
    this.#downstream.becomeIdle();
  }

  /** A first answer in one piece waits for nothing in any case, so that TCP_NODELAY would be a system call in vain (decision 54). */
  #sendAtOnce(): void {
    this.socket.setNoDelay(true);
  }

  #finish(): void {
    const { isLast } = this.#downstream;
    this.record.end(true);
    this.#forget();
    this.#leave();
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#downstream.stop();
    // The kernel has all of the reply, and the client said that it sends no more: half-closing first would only cost the
    // wait for its own end.
    if (isLast && this.socket.writableLength === 0) return void this.socket.destroy();
    this.socket.removeAllListeners("data");
    this.#downstream.linger();
  }

  #onDrain(): void {
    if (!this.#isReleased && this.#downstream.drained()) this.#upstream?.resumeResponse();
  }

  #onEnd(): void {
    if (this.#isReleased) return;
    if (this.#downstream.isUpgraded) this.#upstream?.writable.end();
    else this.#downstream.halfClose();
  }

  #onClose(): void {
    if (this.#isReleased) return;
    this.record.end(this.#downstream.isUpgraded);
    this.#forget();
    this.#leave();
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#host.closed(this);
  }

  /** Called about once a second by the listener. */
  expire(): void {
    switch (this.#downstream.awaited) {
      case "request":
        return this.reject(problem("http_timeout", "the request did not arrive in time"));
      case "response":
        return this.#timedOut(`no answer within ${RESPONSE_TIMEOUT_MS / 1000} s`);
      case "nothing":
        this.socket.destroy();
    }
  }

  #leave(): void {
    const ticket = this.#ticket;
    this.#ticket = NO_TICKET;
    ticket.leave();
  }

  #sessionFields(): string {
    const { guard } = this.entry;
    if (this.#target === undefined || guard.sessionRule(this.#target) === undefined) return "";
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
