// Longer than other files: the life of one request is one state machine over the same private state.
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { FailureClass } from "../../../federation/model/traffic-route.ts";
import { FailedTries } from "../balance/failed-tries.ts";
import { NO_CONTENT } from "../http2/connection.ts";
import { ErrorCode } from "../http2/error-code.ts";
import type { Stream, StreamHandler } from "../http2/stream.ts";
import { DEADLINE_EXCEEDED, grpcCodeOf, grpcStatusOf, httpStatusOf } from "../policy/grpc.ts";
import { InterimAllowance } from "../policy/interim-allowance.ts";
import { localReply } from "../policy/local-reply.ts";
import { failureClass, isIdempotent, isUntouched, mayRepeat } from "../policy/retry.ts";
import type { CompiledRetry } from "../routing/compile-rule.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { AbortRequest, ForwardRequest } from "../routing/decide-request.ts";
import { PATIENT_READER_MS, REQUEST_TIMEOUT_MS, STALLED_READER_MS } from "./client-patience.ts";
import type { Bagged } from "./bag.ts";
import { BodyCopy } from "./body-copy.ts";
import type { Entry } from "./entry.ts";
import { NO_TICKET, type Ticket } from "./exchange-ticket.ts";
import { MAX_HELD, passedThrough } from "./http1-connection.ts";
import {
  changedRequest,
  edited,
  factsOf,
  fieldValue,
  forwardRequest,
  Http2RequestView,
  type RequestFacts,
  withoutClaims,
} from "./http2-fields.ts";
import { breakOff, grpcRefusal, grpcTrailers, refusalFields } from "./http2-refusal.ts";
import type { Http2Pool } from "./http2-pool.ts";
import type { Http2Upstream } from "./http2-upstream.ts";
import type { Mirrors } from "./mirrors.ts";
import { problemDocument } from "./problem-reply.ts";
import { RequestRecord } from "./request-record.ts";
import { RoutedRequest, type TimedExchange } from "./routed-request.ts";

/** What the connection does for its exchanges. */
export interface ExchangeHost {
  readonly entry: Entry;
  /** Milliseconds, moved on once a second. */
  readonly coarseNow: number;
  readonly mirrors: Mirrors;
  /** Requests that a fault holds up. */
  held: number;
  http2PoolOf(target: EntryForward): Http2Pool;
}

// As for HTTP/1.1: the same service is as silent by either version.
const RESPONSE_TIMEOUT_MS = 300_000;
const MAX_ATTEMPTS = 3;

// One for all: a decision is made in one synchronous stretch and keeps nothing of it.
const VIEW = new Http2RequestView();

/** One request of a workload's HTTP/2 connection and its answer: a stream of that connection joined to one of an upstream session. */
export class Http2Exchange implements StreamHandler, TimedExchange, Bagged {
  bagSlot = -1;
  readonly #host: ExchangeHost;
  readonly #onFinished: (exchange: Http2Exchange) => void;
  readonly #asking: Stream;
  readonly #record: RequestRecord;
  #fields: readonly string[] = [];
  #facts: RequestFacts | undefined;
  #method = "";
  #isGrpc = false;
  #target: EntryForward | undefined;
  /** What the rule that it fits adds; `undefined` where no route is about the service. */
  #routed: RoutedRequest<readonly string[]> | undefined;
  #ticket: Ticket = NO_TICKET;
  #upstream: Http2Upstream | undefined;
  #answering: Stream | undefined;
  /** Where its tries have failed. */
  #failed: FailedTries | undefined;
  #attempts = 0;
  #bodySent = false;
  /** For a try that the service certainly did not look at; a rule that retries or mirrors keeps its own. */
  #copy: BodyCopy | undefined;
  #trailers: readonly string[] | undefined;
  #responded = false;
  #interim: InterimAllowance | undefined;
  /** Of a gRPC call whose answer has begun. */
  #awaitsStatus = false;
  #isOver = false;
  #isHeld = false;
  #progressMs: number;
  #deadline: NodeJS.Timeout | undefined;
  #pauseTimer: NodeJS.Timeout | undefined;

  constructor(host: ExchangeHost, asking: Stream, onFinished: (exchange: Http2Exchange) => void) {
    this.#host = host;
    this.#asking = asking;
    this.#onFinished = onFinished;
    this.#record = new RequestRecord(host.entry);
    this.#progressMs = host.coarseNow;
  }

  start(fields: readonly string[], isTooLarge: boolean): void {
    const { entry } = this.#host;
    const facts = factsOf(fields);
    const { authority, timeoutMs } = facts;
    const view = VIEW.of(fields, authority ?? "");
    this.#fields = fields;
    this.#method = view.method;
    this.#isGrpc = facts.isGrpc;
    this.#facts = facts;
    this.#record.start(view);
    const wrong = isTooLarge ? problem("http_head_too_large", "the header list is too large") : facts.wrong;
    if (wrong !== undefined) return this.#refuse(wrong);
    const decision = entry.decide(view);
    switch (decision.kind) {
      case "forward":
        if (timeoutMs !== undefined) this.#deadline = setTimeout(() => this.#onDeadline(), timeoutMs);
        return this.#forward(decision);
      case "refuse":
        return this.#refuse(decision.problem, { retryAfterS: decision.retryAfterS });
      case "redirect":
        entry.countRule(decision.rule, "redirected");
        return this.#reply(decision.status, ["location", decision.location, "content-length", "0"]);
      case "abort":
        entry.countRule(decision.rule, "aborted");
        return this.#abort(decision);
    }
  }

  /** The head of the answer was there. */
  get wasAnswered(): boolean {
    return this.#responded;
  }

  /** Cuts what the rules in force no longer permit. */
  recheck(): void {
    const reason = this.#target === undefined ? undefined : this.#host.entry.recheck(this.#target);
    if (reason !== undefined && !this.#isOver) this.#fail(reason);
  }

  /** About once a second. Streams of gRPC may be silent for as long as they like; their deadline is the client's to set. */
  tick(now: number): void {
    if (this.#isOver || this.#target === undefined) return;
    const silentMs = now - this.#progressMs;
    if (this.#asking.pendingBytes > 0) {
      if (silentMs > (this.#isGrpc ? PATIENT_READER_MS : STALLED_READER_MS))
        this.#fail(problem("http_timeout", "the client does not read its answer"), ErrorCode.cancel);
      return;
    }
    if (this.#isGrpc || this.#responded) return;
    const waitsForClient = !this.#asking.endReceived && !this.#asking.isPaused;
    if (waitsForClient && silentMs > REQUEST_TIMEOUT_MS)
      this.#fail(problem("http_timeout", "the request did not arrive in time"));
    else if (silentMs > RESPONSE_TIMEOUT_MS)
      this.#timedOut(`no answer within ${RESPONSE_TIMEOUT_MS / 1000} s`);
  }

  // ---- both streams -------------------------------------------------------------------------------------------------

  onHeaders(stream: Stream, fields: readonly string[], ended: boolean): void {
    if (stream !== this.#answering || this.#isOver) return;
    this.#progressMs = this.#host.coarseNow;
    const status = Number(fields[1]);
    if (status >= 200) {
      if (this.#isGrpc && status === 200) this.#onGrpcHead(fields, ended);
      else this.#ticket.answered(status, this.#upstream?.endpoint);
      if (this.#declines(status, fields)) return;
      if (this.#routed === undefined) this.#copy = undefined;
      this.#responded = true;
      this.#record.answered(status);
    } else {
      const refusal = this.#interimRefusal(status);
      if (refusal !== undefined) {
        this.#giveUp(refusal);
        return this.#fail(refusal);
      }
    }
    const edits = this.#routed?.routed.edits.response;
    const kept = withoutClaims(fields);
    if (status < 200) return this.#asking.headers(kept, false);
    const changed = edits === undefined ? kept : edited(kept, edits);
    this.#asking.headers(this.#withSession(changed), ended);
  }

  #interimRefusal(status: number): Problem | undefined {
    if (status === 101) return problem("upstream_malformed", "101 in HTTP/2");
    const now = this.#host.coarseNow;
    this.#interim ??= new InterimAllowance(now);
    return this.#interim.take(now);
  }

  onTrailers(stream: Stream, fields: readonly string[]): void {
    if (this.#isOver) return;
    const kept = withoutClaims(fields);
    if (stream === this.#asking) {
      this.#trailers = kept;
      return;
    }
    if (this.#awaitsStatus) this.#onGrpcStatus(fieldValue(fields, "grpc-status"));
    this.#asking.end(kept);
  }

  onData(stream: Stream, buffer: Buffer, start: number, end: number): void {
    if (this.#isOver) return;
    this.#progressMs = this.#host.coarseNow;
    if (stream === this.#asking) {
      this.#bodySent = true;
      this.#host.entry.counters.up.value += end - start;
      this.#record.sent(end - start);
      this.#copy?.write(buffer, start, end);
      if (this.#answering?.write(buffer, start, end) === false) stream.pause();
    } else {
      this.#record.received(end - start);
      if (!this.#asking.write(buffer, start, end)) stream.pause();
    }
  }

  onEnd(stream: Stream): void {
    if (this.#isOver) return;
    this.#progressMs = this.#host.coarseNow;
    if (stream !== this.#asking) {
      if (this.#awaitsStatus) this.#onGrpcStatus(undefined);
      return this.#asking.end();
    }
    this.#answering?.end(this.#trailers);
    this.#mirror();
  }

  onDrain(stream: Stream): void {
    this.#progressMs = this.#host.coarseNow;
    if (stream === this.#asking) this.#answering?.resume();
    else this.#asking.resume();
  }

  onClosed(stream: Stream): void {
    if (stream === this.#asking) return this.#finish(stream);
    if (this.#target !== undefined) this.#host.entry.connectionFree(this.#target);
    if (stream !== this.#answering || this.#isOver) return;
    this.#answering = undefined;
    if (stream.endReceived && !stream.wasCut) {
      // Answered before all was asked: the client need not send the rest (RFC 9113 §8.1).
      if (!this.#asking.endReceived && this.#asking.endSent) this.#asking.reset(ErrorCode.noError);
      return;
    }
    const reason = this.#lossOf(stream);
    this.#ticket.failed(reason, this.#upstream?.endpoint);
    const isByService = stream.fault === undefined && this.#upstream?.isLost !== true;
    if (this.#responded) return this.#fail(reason, isByService ? stream.rstCode : undefined);
    this.#noteFailure(failureClass(reason.name), this.#upstream?.endpoint);
    if (this.#routed?.routed.rule.retry !== undefined) return this.#tryFailed(reason);
    if (this.#target !== undefined && this.#mayRepeat(reason)) return this.#attempt(this.#target, true);
    this.#fail(reason);
  }

  onAltsvc(): void {}

  /** Whether the call succeeded stands in its trailers, or in the head where there is nothing else. */
  #onGrpcHead(fields: readonly string[], ended: boolean): void {
    const status = fieldValue(fields, "grpc-status");
    this.#awaitsStatus = status === undefined && !ended;
    if (this.#awaitsStatus) this.#ticket.began();
    else this.#onGrpcStatus(status);
  }

  #onGrpcStatus(status: string | undefined): void {
    this.#awaitsStatus = false;
    const code = grpcCodeOf(status);
    this.#ticket.answered(httpStatusOf(code), this.#upstream?.endpoint);
    this.#record.grpcEnded(code);
  }

  // ---- inside -------------------------------------------------------------------------------------------------------

  #forward({ target, routed }: ForwardRequest): void {
    const { entry } = this.#host;
    this.#record.toward(target, routed === undefined ? "" : routed.rule.label);
    if (target.permit.wouldDeny) entry.counters.wouldDeny.value += 1;
    const via = this.#facts?.via;
    if (via !== undefined && passedThrough(via, entry.pseudonym))
      return this.#refuse(problem("loop", `Via names ${entry.pseudonym} already`));
    const ticket = entry.enter(target);
    if ("name" in ticket) return this.#refuse(ticket);
    this.#ticket = ticket;
    this.#target = target;
    if (routed === undefined) {
      this.#copy = this.#asking.endReceived ? undefined : new BodyCopy();
      return this.#attempt(target, false);
    }
    const { rule, delayMs } = routed;
    const head = changedRequest(this.#fields, routed);
    this.#routed = new RoutedRequest(routed, head, !this.#asking.endReceived);
    this.#copy = this.#routed.copy;
    entry.countRule(rule, "forwarded");
    if (rule.retry !== undefined) entry.env.budgets.of(rule).request(rule.retry.budget, entry.env.now());
    this.#routed.limitRequest(this);
    if (delayMs === 0) return this.#attempt(target, false);
    entry.countRule(rule, "delayed");
    this.#delay(target, delayMs);
  }

  // The closures of what is seldom stand in methods of their own: where one captures a local, all calls pay for its context.

  #abort(decision: AbortRequest): void {
    const refuse = () => this.#refuse(decision.problem, decision);
    if (decision.delayMs === 0) refuse();
    else this.#hold(decision.delayMs, refuse);
  }

  #delay(target: EntryForward, delayMs: number): void {
    this.#hold(delayMs, () => this.#attempt(target, false));
  }

  /** A fault's delay: nothing of the request is sent, and nothing more of it is read. */
  #hold(delayMs: number, then: () => void): void {
    const host = this.#host;
    if (host.held >= MAX_HELD) return then();
    host.held += 1;
    this.#isHeld = true;
    this.#pause(delayMs, () => {
      this.#endHold();
      then();
    });
  }

  #endHold(): void {
    if (this.#isHeld) this.#host.held -= 1;
    this.#isHeld = false;
  }

  #pause(ms: number, then: () => void): void {
    this.#asking.pause();
    this.#pauseTimer = setTimeout(() => {
      this.#pauseTimer = undefined;
      this.#progressMs = this.#host.coarseNow;
      if (this.#isOver) return;
      then();
      this.#asking.resume();
    }, ms);
  }

  /** Copies go out once the request itself has. */
  #mirror(): void {
    const request = this.#routed;
    if (request === undefined || request.routed.mirrors.length === 0) return;
    const { entry, mirrors, coarseNow } = this.#host;
    if (request.copy?.overflowed === true) return void (entry.counters.mirrorsOverBody.value += 1);
    const fields = forwardRequest(request.head, { via: entry.pseudonym, trace: undefined });
    for (const target of request.routed.mirrors)
      mirrors.sendHttp2(this.#host.http2PoolOf(target), fields, request.copy?.chunks ?? [], coarseNow);
  }

  /** `fresh`: not by a session that was tried. */
  #attempt(target: EntryForward, fresh: boolean): void {
    this.#attempts += 1;
    this.#record.attempt();
    if (!this.#send(target, fresh)) this.#await(target);
  }

  #await(target: EntryForward): void {
    const { entry } = this.#host;
    this.#asking.pause();
    const hasLeft = (): boolean => this.#isOver || this.#asking.isClosed;
    entry.whenAvailable(target, {
      tryAgain: (worth) => {
        if (hasLeft()) return false;
        const reason = entry.recheck(target);
        const mayTry = worth && reason === undefined;
        const isSent = mayTry && this.#send(target, false);
        if (!isSent && mayTry && entry.isFull(target)) return true;
        if (!isSent) {
          this.#noteFailure("connect-failure", undefined);
          this.#tryFailed(reason ?? this.#unavailable(target));
        }
        this.#asking.resume();
        return false;
      },
      get client() {
        return hasLeft() ? "gone" : "here";
      },
    });
  }

  #unavailable(target: EntryForward): Problem {
    return this.#host.http2PoolOf(target).isFull
      ? problem("overloaded", "the service takes no more requests at a time")
      : this.#host.entry.unavailable(target);
  }

  #send(target: EntryForward, fresh: boolean): boolean {
    const pool = this.#host.http2PoolOf(target);
    const { trace } = this.#record;
    const traced = trace?.sampled === true ? pool.openTraced(trace, this.#failed) : undefined;
    const upstream = traced ?? pool.pick(fresh, this.#failed);
    if (upstream === undefined) return false;
    const request = this.#routed;
    const forwarded = this.#forwarded(request?.head ?? this.#fields);
    const asking = this.#asking;
    const chunks = this.#copy?.chunks ?? [];
    const isWhole = asking.endReceived && asking.queuedBytes === 0;
    const isBare = isWhole && chunks.length === 0 && this.#trailers === undefined;
    const stream = upstream.request(forwarded, isBare, this);
    traced?.retire();
    if (stream === undefined) return false;
    if (this.#method === "HEAD") stream.expectedBytes = NO_CONTENT;
    this.#upstream = upstream;
    this.#answering = stream;
    request?.limitTry(this);
    for (const chunk of chunks) stream.write(chunk, 0, chunk.length);
    if (asking.endDelivered) stream.end(this.#trailers);
    return true;
  }

  #forwarded(head: readonly string[]): readonly string[] {
    const via = this.#host.entry.pseudonym;
    const { trace } = this.#record;
    if (trace === undefined && head === this.#fields && this.#facts !== undefined)
      return this.#facts.forwardedBy(via);
    return forwardRequest(head, { via, trace });
  }

  /** With the field that brings the client back to the same endpoint, where a rule asks for it. */
  #withSession(fields: readonly string[]): readonly string[] {
    const { guard } = this.#host.entry;
    if (this.#target === undefined || guard.sessionRule(this.#target) === undefined) return fields;
    const view = VIEW.of(this.#fields, "");
    const line = guard.sessionFields(this.#target, view, this.#upstream?.endpoint);
    const colon = line.indexOf(": ");
    if (colon === -1) return fields;
    return [...fields, line.slice(0, colon).toLowerCase(), line.slice(colon + 2).trimEnd()];
  }

  #noteFailure(failure: FailureClass | undefined, endpoint: string | undefined): void {
    if (this.#target === undefined) return;
    this.#failed ??= new FailedTries();
    this.#failed.add(this.#target.destination, endpoint, failure);
  }

  /** A try came to nothing: another one, where the rule allows it, or the end. */
  #tryFailed(reason: Problem): void {
    const retry = this.#routed?.routed.rule.retry;
    const failure = failureClass(reason.name);
    const isMeant =
      retry !== undefined && failure !== undefined && (retry.on.has(failure) || failure === "refused-stream");
    if (!isMeant || !this.#tryAgain(retry, isUntouched(failure))) this.#fail(reason);
  }

  /** A status that the rule takes for a failure, of HTTP or of a gRPC answer that is trailers only. */
  #declines(status: number, fields: readonly string[]): boolean {
    const retry = this.#routed?.routed.rule.retry;
    if (retry === undefined) return false;
    const grpcStatus = this.#isGrpc ? fieldValue(fields, "grpc-status") : undefined;
    const isFailure =
      retry.codes.has(status) || (grpcStatus !== undefined && retry.grpcCodes.has(Number(grpcStatus)));
    if (!isFailure || !this.#tryAgain(retry, false)) return false;
    this.#noteFailure(undefined, this.#upstream?.endpoint);
    const declined = this.#answering;
    this.#answering = undefined;
    declined?.reset(ErrorCode.cancel);
    return true;
  }

  /** Whether another try is on its way. A gRPC call is a POST, and whether it may run twice its status codes say. */
  #tryAgain(retry: CompiledRetry, untouched: boolean): boolean {
    const [request, target] = [this.#routed, this.#target];
    if (request === undefined || target === undefined) return false;
    const isNamed = this.#isGrpc && retry.grpcCodes.size > 0;
    if (!untouched && !isNamed && !mayRepeat(retry, this.#method)) return false;
    const pauseMs = request.retryMs(retry, this.#host.entry, this.#ticket, this.#bodySent);
    if (pauseMs === undefined) return false;
    this.#pause(pauseMs, () => {
      const next = this.#moveOn(target, request.routed.sources);
      const reason = this.#host.entry.recheck(next);
      if (reason === undefined) this.#attempt(next, false);
      else this.#fail(reason);
    });
    return true;
  }

  /** The next try may have another cluster for its target. */
  #moveOn(target: EntryForward, sources: readonly EntryForward[]): EntryForward {
    const moved =
      this.#failed === undefined ? undefined : this.#host.entry.moveOn(target, sources, this.#failed);
    if (moved === undefined) return target;
    this.#ticket.moved();
    this.#ticket = moved.ticket;
    this.#target = moved.target;
    this.#record.moved(moved.target);
    return moved.target;
  }

  onRequestTimeout(): void {
    this.#timedOut("the rule's request timeout is over");
  }

  onTryTimeout(): void {
    const retry = this.#routed?.routed.rule.retry;
    const detail = "the rule's backendRequest timeout is over";
    if (this.#responded || retry?.on.has("timeout") !== true) return this.#timedOut(detail);
    const reason = problem("upstream_timeout", detail);
    this.#noteFailure("timeout", this.#upstream?.endpoint);
    this.#giveUp(reason);
    this.#tryFailed(reason);
  }

  #timedOut(detail: string): void {
    if (this.#isOver) return;
    const reason = problem("upstream_timeout", detail);
    this.#giveUp(reason);
    this.#fail(reason);
  }

  /** A try that takes too long is as much a failure as one that breaks off. */
  #giveUp(reason: Problem): void {
    const answering = this.#answering;
    if (answering === undefined) return;
    this.#answering = undefined;
    this.#ticket.failed(reason, this.#upstream?.endpoint);
    answering.reset(ErrorCode.cancel);
  }

  #lossOf(stream: Stream): Problem {
    if (stream.fault !== undefined) return problem("upstream_malformed", stream.fault);
    if (stream.rstCode === ErrorCode.refusedStream)
      return problem("draining", "the service takes no more streams on this connection");
    const upstream = this.#upstream;
    if (upstream !== undefined && !upstream.usable) return upstream.loss;
    return problem("upstream_reset", `the service reset the stream with code ${stream.rstCode}`);
  }

  #mayRepeat(reason: Problem): boolean {
    if (this.#attempts >= MAX_ATTEMPTS || this.#responded || this.#asking.isClosed) return false;
    if (this.#bodySent && this.#copy?.overflowed !== false) return false;
    // Neither ever reached a workload.
    if (reason.name === "draining" || reason.name === "endpoint_unreachable") return true;
    return reason.name === "upstream_reset" && isIdempotent(this.#method) && this.#attempts === 1;
  }

  #onDeadline(): void {
    if (this.#isOver) return;
    const reason = problem("upstream_timeout", "the deadline of the call is over");
    this.#giveUp(reason);
    if (!this.#responded) return this.#fail(reason);
    this.#drop();
    this.#asking.end(grpcTrailers(reason, DEADLINE_EXCEEDED));
  }

  /** Before the answer's head: a refusal; after it, half an answer must not look whole. */
  #fail(reason: Problem, code?: number): void {
    this.#drop();
    if (!this.#responded) return this.#refuse(reason);
    this.#record.refused(reason);
    breakOff(this.#asking, this.#isGrpc, reason, code);
  }

  #refuse(reason: Problem, { status, grpcCode, retryAfterS }: RefusalDetails = {}): void {
    const http = status ?? localReply(reason.name).http;
    this.#host.entry.refused(reason);
    this.#record.refused(reason);
    if (this.#isGrpc) {
      this.#record.answered(http);
      return this.#answer(grpcRefusal(reason, grpcCode ?? grpcStatusOf(http, reason.name)));
    }
    const body = Buffer.from(problemDocument(reason, http), "utf8");
    this.#reply(http, refusalFields(reason, http, body.length, retryAfterS), body);
  }

  #reply(status: number, fields: readonly string[], body?: Buffer): void {
    this.#record.answered(status);
    this.#answer([":status", String(status), ...fields], this.#method === "HEAD" ? undefined : body);
  }

  #answer(fields: readonly string[], body?: Buffer): void {
    const asking = this.#asking;
    this.#isOver = true;
    if (asking.isClosed) return;
    asking.headers(fields, body === undefined);
    if (body !== undefined) asking.write(body, 0, body.length);
    asking.end();
    // What the client still sends is nobody's: it is told so, once it has all of the answer.
    asking.resume();
    if (!asking.endReceived && asking.endSent) asking.reset(ErrorCode.noError);
  }

  #drop(): void {
    const answering = this.#answering;
    this.#answering = undefined;
    this.#isOver = true;
    answering?.reset(ErrorCode.cancel);
  }

  #finish(asking: Stream): void {
    this.#drop();
    this.#endHold();
    clearTimeout(this.#deadline);
    clearTimeout(this.#pauseTimer);
    this.#routed?.end();
    this.#ticket.leave();
    this.#record.end(!asking.wasCut);
    this.#onFinished(this);
  }
}

/** What a rule says of its refusal beyond the reason. */
interface RefusalDetails {
  readonly status?: number;
  readonly grpcCode?: number | undefined;
  readonly retryAfterS?: number | undefined;
}
