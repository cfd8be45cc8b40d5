// Longer than other files: the life of one judged request is one state machine over the same private state.
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import type { RequestHead } from "../../http1/request-head.ts";
import type { ResponseHead } from "../../http1/response-head.ts";
import { localReply } from "../../policy/local-reply.ts";
import { isIdempotent } from "../../policy/retry.ts";
import type { Bagged } from "../bag.ts";
import { IDLE_TIMEOUT_MS } from "../client-patience.ts";
import type { BodyTarget } from "../http1-body.ts";
import { Http1Downstream, type RequestServer } from "../http1-downstream.ts";
import type { Http1Exchange } from "../http1-exchange.ts";
import { renderProblem } from "../problem-reply.ts";
import { abort, ignore, type RelayEnd } from "../relay.ts";
import { type JudgingHost, passesOn, type RequestRoute, type Takeover } from "./judging-host.ts";
import type { UpstreamExchange } from "./upstream-exchange.ts";

// With more endpoints gone than that, the next request knows better.
const MAX_OTHER_ENDPOINTS = 2;

/** Keeps the connections that it judges. */
export interface JudgedHttp1Host extends JudgingHost {
  closed(relay: JudgedHttp1): void;
}

/**
 * One HTTP/1.1 connection whose requests are each judged and sent to where the host says: from a workload to the outside, from
 * the outside to an exported service, or where calls arrive. One request at a time, as at the entry.
 */
export class JudgedHttp1 implements Http1Exchange, RequestServer, Bagged {
  bagSlot = -1;
  readonly socket: RelayEnd;
  readonly #host: JudgedHttp1Host;
  readonly #downstream: Http1Downstream;
  #route: RequestRoute | undefined;
  #upstream: UpstreamExchange | undefined;
  #repeats = 0;
  /** Counts requests: heads and routes may be those of the one before. */
  #turn = 0;

  constructor(socket: RelayEnd, host: JudgedHttp1Host) {
    this.socket = socket;
    this.#host = host;
    this.#downstream = new Http1Downstream(socket, this, host, IDLE_TIMEOUT_MS);
    socket.on("data", this.#onData);
    socket.on("drain", this.#onDrain);
    socket.once("end", this.#onEnd);
    socket.on("error", ignore);
    socket.once("close", this.#onClose);
  }

  /** Bytes that came before this relay was made. */
  start(early: Buffer): void {
    if (early.length > 0) this.#onData(early);
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
    return this.#downstream.staysOpen;
  }

  received(bytes: number): void {
    this.#host.counters.down.value += bytes;
  }

  /** What the far server says is what the client gets. */
  declines(): boolean {
    return false;
  }

  /** Ends the connection if no request is under way or arriving, and none was for so long. */
  endIfIdle(forMs: number): void {
    if (this.#downstream.isIdle(forMs)) this.#finish();
  }

  // ---- from the upstream --------------------------------------------------------------------------------------------

  writeResponse(status: number, buffer: Buffer, at: number, end: number): void {
    this.#host.answered(status);
    this.#downstream.pass(buffer, at, end);
  }

  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt?: number, end?: number): void {
    this.#host.answered(head.status);
    this.#downstream.respond(head, head.forwardable, buffer, bodyAt, end);
  }

  writeInterim(head: string): void {
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
    this.#host.answered(101);
    const early = this.#downstream.upgrade();
    if (early !== undefined) this.#upstream?.write(early, 0, early.length);
    if (this.#downstream.hasEnded) this.#upstream?.end("");
    this.socket.resume();
  }

  finishUpgraded(): void {
    this.#downstream.writer.flush();
    this.socket.end();
  }

  responseDone(): void {
    this.#upstream = undefined;
    if (!this.#downstream.staysOpen) return this.#finish();
    this.#becomeIdle();
    this.#downstream.next();
  }

  upstreamFailed(stream: { readonly reused: boolean }, reason: Problem): void {
    this.#upstream = undefined;
    if (this.#downstream.hasResponded || passesOn(this.#host, reason)) return abort(this.socket);
    if (!this.#mayRepeat(stream, reason)) return this.#refuse(reason);
    this.#repeats += 1;
    if (this.#route !== undefined) this.#acquire(this.#route);
  }

  /** A pooled connection may have been closed by the far side just then; a fresh one that breaks is an answer. */
  #mayRepeat(stream: { readonly reused: boolean }, reason: Problem): boolean {
    if (this.#downstream.hasSentBody) return false;
    // It was never sent, and another endpoint is picked the next time.
    if (reason.name === "endpoint_unreachable") return this.#repeats < MAX_OTHER_ENDPOINTS;
    if (this.#repeats > 0) return false;
    // It was certainly not processed (RFC 9113 §8.7).
    if (reason.name === "draining") return true;
    return stream.reused && reason.name === "upstream_reset" && isIdempotent(this.request.method);
  }

  /** The rules no longer allow what is under way. */
  cut(reason: Problem): void {
    if (!this.#downstream.isActive) return;
    this.#giveUp();
    if (!this.#downstream.hasResponded) return this.#refuse(reason);
    this.#host.refused(reason, this.request);
    abort(this.socket);
  }

  /** The rules have changed: what is under way is judged again. */
  recheck(refusalOf: (head: RequestHead) => Problem | undefined): void {
    const reason = this.#downstream.isActive ? refusalOf(this.request) : undefined;
    if (reason !== undefined) this.cut(reason);
  }

  // ---- from the client ----------------------------------------------------------------------------------------------

  #onData = (chunk: Buffer): void => {
    this.#host.counters.up.value += chunk.length;
    if (!this.#downstream.isUpgraded) this.#downstream.read(this.#downstream.withPending(chunk));
    else if (this.#upstream?.write(chunk, 0, chunk.length) === false) this.socket.pause();
  };

  serve(head: RequestHead, buffer: Buffer, at: number): void {
    this.#repeats = 0;
    this.#turn += 1;
    const route = this.#host.route(head);
    if ("name" in route) this.#refuse(route);
    else if ("takeOver" in route) this.#handOver(route, buffer.subarray(at));
    else this.#send(route);
  }

  #handOver({ takeOver }: Takeover, early: Buffer): void {
    this.#downstream.release();
    this.socket.pause();
    this.#host.closed(this);
    const socket = this.socket as unknown as NodeJS.EventEmitter;
    socket.off("data", this.#onData);
    socket.off("drain", this.#onDrain);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onClose);
    takeOver(this.socket, early);
  }

  #send(route: RequestRoute): void {
    this.#route = route;
    this.#downstream.answerMs = route.requestMs;
    this.#downstream.moveDeadline();
    const ready = route.pool.take(this.request.upgrade !== undefined);
    if (ready === undefined) this.#acquire(route);
    else this.#begin(ready, route);
  }

  #begin(upstream: UpstreamExchange, route: RequestRoute): void {
    this.#upstream = upstream;
    this.#host.begun(route, this.request);
    this.#downstream.expectBody(upstream.keepsChunks);
    upstream.begin(this, route.head);
  }

  #acquire(route: RequestRoute): void {
    this.socket.pause();
    const turn = this.#turn;
    route.pool.acquire(this.request.upgrade !== undefined, (result) => {
      const isStill = this.#turn === turn && this.#route === route && this.#downstream.isActive;
      const isWanted = isStill && !this.socket.destroyed;
      // A connection that nobody waits for any more begins with nothing: it is dropped.
      if (!isWanted) return result.ok ? result.value.abort() : undefined;
      if (result.ok) this.#begin(result.value, route);
      else if (this.#host.passesLoss === true) return abort(this.socket);
      else this.#refuse(result.error);
      this.#downstream.resume();
    });
  }

  get bodyTarget(): BodyTarget | undefined {
    return this.#upstream;
  }

  bodySent(): boolean {
    const upstream = this.#upstream;
    if (upstream === undefined) return true;
    if (this.requestDone && !upstream.keepsChunks) upstream.end(this.#downstream.trailers);
    return !upstream.needsDrain;
  }

  // ---- replies of our own and endings -------------------------------------------------------------------------------

  #refuse(reason: Problem): void {
    const reply = localReply(reason.name);
    this.#host.refused(reason, this.request);
    this.#host.answered(reply.http);
    const close = reply.close || !this.#downstream.staysOpen;
    const headOnly = this.request.method === "HEAD";
    this.#downstream.reply(renderProblem(reason, reply.http, close, headOnly));
    if (close) return this.#finish();
    this.#becomeIdle();
    this.#downstream.next();
  }

  reject(reason: Problem): void {
    this.#host.refused(reason, undefined);
    const { http } = localReply(reason.name);
    this.#host.answered(http);
    if (!this.#downstream.hasResponded) this.#downstream.reply(renderProblem(reason, http, true, false));
    this.#finish();
  }

  #becomeIdle(): void {
    this.#route = undefined;
    this.#downstream.becomeIdle();
  }

  #giveUp(): void {
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#route = undefined;
  }

  #finish(): void {
    this.#giveUp();
    this.#downstream.stop();
    this.#downstream.linger();
  }

  #onDrain = (): void => {
    if (this.#downstream.drained()) this.#upstream?.resumeResponse();
  };

  #onEnd = (): void => {
    if (this.#downstream.isUpgraded) this.#upstream?.end("");
    else this.#downstream.halfClose();
  };

  #onClose = (): void => {
    this.#giveUp();
    this.#host.closed(this);
  };

  /** Called about once a second by the host. */
  expire(): void {
    switch (this.#downstream.awaited) {
      case "request":
        return this.reject(problem("http_timeout", "the request did not arrive in time"));
      case "response":
        return this.#timeOut();
      case "nothing":
        abort(this.socket);
    }
  }

  #timeOut(): void {
    const ms = this.#route?.requestMs ?? 0;
    const upstream = this.#upstream;
    this.#giveUp();
    upstream?.suspect();
    this.#refuse(problem("upstream_timeout", `no answer within ${ms / 1000} s`));
  }
}
