// Longer than other files: the life of one connection is one state machine over the same private state.
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { DEFAULT_HEAD_LIMITS } from "../../http1/outcome.ts";
import type { RequestHead } from "../../http1/request-head.ts";
import { RequestHeadReader } from "../../http1/request-head-reader.ts";
import type { ResponseHead } from "../../http1/response-head.ts";
import { localReply } from "../../policy/local-reply.ts";
import type { Bagged } from "../bag.ts";
import { IDLE_TIMEOUT_MS, MIN_PROGRESS_BYTES, REQUEST_TIMEOUT_MS } from "../client-patience.ts";
import type { Counter } from "../counters.ts";
import { BodyForwarder, MALFORMED } from "../http1-body.ts";
import type { Http1Exchange } from "../http1-exchange.ts";
import { renderProblem } from "../problem-reply.ts";
import { abort, ignore, type RelayEnd } from "../relay.ts";
import { SocketWriter } from "../socket-writer.ts";
import { TunnelChannel } from "../tunnel-channel.ts";
import type { FlowCounter } from "../external/flows.ts";
import type { ExchangePool, UpstreamExchange } from "./upstream-exchange.ts";

const LINGER_MS = 2_000;
// With more endpoints gone than that, the next request knows better.
const MAX_OTHER_ENDPOINTS = 2;
const NO_DEADLINE = 0;

/** Where one request goes. */
export interface RequestRoute {
  readonly pool: ExchangePool;
  /** The head to send, without its final empty line. */
  readonly head: string;
  readonly requestMs: number;
  /** What counts the request, once it is on its way. */
  readonly flow?: FlowCounter;
  readonly wouldDeny?: boolean;
}

/** Takes the connection over after a CONNECT: the route's decision is made, what follows are the tunnel's bytes. */
export interface Takeover {
  readonly takeOver: (end: RelayEnd, early: Buffer) => void;
}

export interface JudgingHost {
  /** Milliseconds, moved on once a second. */
  readonly coarseNow: number;
  readonly draining: boolean;
  readonly counters: { readonly up: Counter; readonly down: Counter };
  /** A client that takes nothing of its answer for so long is cut. */
  readonly stalledReaderMs: number;
  /** The client is a hop of ours that knows better what to do about a far connection that is lost: it is told as it is. */
  readonly passesLoss?: boolean;
  /** The client may name other hosts than its own connection's: CONNECT and absolute-form are read. */
  readonly forms: "origin" | "proxy";
  route(head: RequestHead): RequestRoute | Takeover | Problem;
  /** The request is on its way to the far server. */
  begun(route: RequestRoute, head: RequestHead): void;
  refused(reason: Problem, head: RequestHead | undefined): void;
  answered(status: number): void;
  closed(relay: JudgedHttp1): void;
}

/**
 * One HTTP/1.1 connection whose requests are each judged and sent to where the host says: from a workload to the outside, from
 * the outside to an exported service, or where calls arrive. One request at a time, as at the entry.
 */
export class JudgedHttp1 implements Http1Exchange, Bagged {
  bagSlot = -1;
  readonly socket: RelayEnd;
  readonly body: EndWriter;
  request!: RequestHead;
  requestDone = true;
  deadlineMs: number;
  readonly #host: JudgingHost;
  readonly #heads = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
  readonly #requestBody = new BodyForwarder();
  #route: RequestRoute | undefined;
  #upstream: UpstreamExchange | undefined;
  #active = false;
  #responded = false;
  #repeats = 0;
  /** Counts requests: heads and routes may be those of the one before. */
  #turn = 0;
  #bodySent = false;
  #upgraded = false;
  #ended = false;
  #gone = false;
  #halfClosed = false;
  #pending: Buffer | undefined;
  #scanned = 0;
  #progress = 0;

  constructor(socket: RelayEnd, host: JudgingHost) {
    this.socket = socket;
    this.body = writerOf(socket);
    this.#host = host;
    this.deadlineMs = host.coarseNow + IDLE_TIMEOUT_MS;
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

  get passesUnchanged(): boolean {
    return this.staysOpen;
  }

  received(bytes: number): void {
    this.#host.counters.down.value += bytes;
  }

  /** What the far server says is what the client gets. */
  declines(): boolean {
    return false;
  }

  get staysOpen(): boolean {
    const nothingFollows = this.#halfClosed && this.#pending === undefined;
    return (
      this.request.keepAlive && this.requestDone && !this.#host.draining && !this.#ended && !nothingFollows
    );
  }

  /** Ends the connection if no request is under way or arriving, and none was for so long. */
  endIfIdle(forMs: number): void {
    const idleMs = this.#host.coarseNow - (this.deadlineMs - IDLE_TIMEOUT_MS);
    if (!this.#active && !this.#ended && this.#scanned === 0 && idleMs >= forMs) this.#finish();
  }

  // ---- from the upstream --------------------------------------------------------------------------------------------

  writeResponse(status: number, buffer: Buffer, at: number, end: number): void {
    this.#responded = true;
    this.#host.answered(status);
    this.body.write(buffer, at, end);
  }

  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt = 0, end = 0): void {
    this.#responded = true;
    this.#host.answered(head.status);
    const { minor } = this.request;
    const text =
      minor === 0 ? head.forwardable.replace(/^transfer-encoding:[^\r\n]*\r\n/im, "") : head.forwardable;
    const mustClose = !this.staysOpen || head.body.kind === "until-close" || minor === 0;
    if (mustClose) this.#ended = true;
    this.body.flush();
    if (!mustClose && head.wire !== undefined && buffer !== undefined)
      return void this.socket.write(joined(head.wire, buffer, bodyAt, end));
    const last = text + (mustClose ? "connection: close\r\n\r\n" : "\r\n");
    if (buffer === undefined) this.socket.write(last, "latin1");
    else this.socket.write(joined(Buffer.from(last, "latin1"), buffer, bodyAt, end));
  }

  writeInterim(head: string): void {
    this.body.flush();
    if (this.request.minor === 1) this.socket.write(head, "latin1");
  }

  write(bytes: Buffer, start: number, end: number): void {
    if (end > start && !this.body.write(bytes, start, end)) this.awaitDrain();
  }

  awaitDrain(): void {
    if (!this.socket.writableNeedDrain) return this.#moveDeadline();
    this.#upstream?.pauseResponse();
    this.deadlineMs = this.#host.coarseNow + this.#host.stalledReaderMs;
  }

  resumeRequest(): void {
    if (this.#active && !(this.requestDone && this.#pending !== undefined)) this.socket.resume();
  }

  upgraded(): void {
    this.#upgraded = true;
    this.#responded = true;
    this.#host.answered(101);
    this.deadlineMs = NO_DEADLINE;
    const early = this.#pending;
    this.#pending = undefined;
    if (early !== undefined) this.#upstream?.write(early, 0, early.length);
    this.socket.resume();
  }

  finishUpgraded(): void {
    this.body.flush();
    this.socket.end();
  }

  responseDone(): void {
    this.#upstream = undefined;
    if (!this.requestDone || !this.staysOpen) return this.#finish();
    this.#becomeIdle();
    this.#next();
  }

  upstreamFailed(stream: { readonly reused: boolean }, reason: Problem): void {
    this.#upstream = undefined;
    if (this.#responded || this.#host.passesLoss === true) return abort(this.socket);
    if (!this.#mayRepeat(stream, reason)) return this.#refuse(reason);
    this.#repeats += 1;
    if (this.#route !== undefined) this.#acquire(this.#route);
  }

  /** A pooled connection may have been closed by the far side just then; a fresh one that breaks is an answer. */
  #mayRepeat(stream: { readonly reused: boolean }, reason: Problem): boolean {
    if (this.#bodySent) return false;
    // It was never sent, and another endpoint is picked the next time.
    if (reason.name === "endpoint_unreachable") return this.#repeats < MAX_OTHER_ENDPOINTS;
    if (this.#repeats > 0) return false;
    // It was certainly not processed (RFC 9113 §8.7).
    if (reason.name === "draining") return true;
    return stream.reused && reason.name === "upstream_reset" && isIdempotent(this.request.method);
  }

  /** The rules no longer allow what is under way. */
  cut(reason: Problem): void {
    if (!this.#active) return;
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#route = undefined;
    if (!this.#responded) return this.#refuse(reason);
    this.#host.refused(reason, this.request);
    abort(this.socket);
  }

  /** The rules have changed: what is under way is judged again. */
  recheck(refusalOf: (head: RequestHead) => Problem | undefined): void {
    const reason = this.#active ? refusalOf(this.request) : undefined;
    if (reason !== undefined) this.cut(reason);
  }

  // ---- from the client ----------------------------------------------------------------------------------------------

  #onData = (chunk: Buffer): void => {
    this.#host.counters.up.value += chunk.length;
    if (this.#gone || (this.#ended && !this.#active)) return;
    if (this.#upgraded) {
      if (this.#upstream?.write(chunk, 0, chunk.length) === false) this.socket.pause();
      return;
    }
    const buffer = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = undefined;
    this.#consume(buffer);
  };

  #consume(buffer: Buffer): void {
    let at = 0;
    while (at < buffer.length && !this.socket.destroyed && !this.#gone) {
      if (!this.#active) {
        if (this.#ended) return;
        if (this.socket.writableNeedDrain) return this.#keep(buffer, at);
        const { forms } = this.#host;
        const outcome = this.#heads.read(buffer, at, buffer.length, at + this.#scanned, forms);
        if (outcome.kind === "need-more") return this.#awaitHead(buffer, at);
        this.#scanned = 0;
        if (outcome.kind === "invalid") return this.#reject(problem(outcome.problem, outcome.detail));
        at += outcome.head.byteLength;
        if (!this.#start(outcome.head, buffer, at)) return;
      } else if (!this.requestDone && this.#upstream !== undefined) {
        at = this.#forwardBody(buffer, at, this.#upstream);
        if (at === MALFORMED) return;
      } else {
        return this.#keep(buffer, at);
      }
    }
  }

  /** Whether this connection goes on reading requests here. */
  #start(head: RequestHead, buffer: Buffer, at: number): boolean {
    this.request = head;
    this.requestDone = head.body.kind === "none";
    this.#active = true;
    this.#responded = false;
    this.#bodySent = false;
    this.#repeats = 0;
    this.#turn += 1;
    const route = this.#host.route(head);
    if ("name" in route) this.#refuse(route);
    else if ("takeOver" in route) {
      this.#handOver(route, buffer.subarray(at));
      return false;
    } else {
      this.#send(route);
    }
    return !this.#ended || this.#active;
  }

  #handOver({ takeOver }: Takeover, early: Buffer): void {
    this.#gone = true;
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
    this.#moveDeadline();
    const ready = route.pool.take(this.request.upgrade !== undefined);
    if (ready === undefined) this.#acquire(route);
    else this.#begin(ready, route);
  }

  #begin(upstream: UpstreamExchange, route: RequestRoute): void {
    this.#upstream = upstream;
    this.#host.begun(route, this.request);
    if (!this.requestDone) this.#requestBody.reset(this.request.body, upstream.keepsChunks);
    upstream.begin(this, route.head);
  }

  #acquire(route: RequestRoute): void {
    this.socket.pause();
    const turn = this.#turn;
    route.pool.acquire(this.request.upgrade !== undefined, (result) => {
      const isStill = this.#turn === turn && this.#route === route && this.#active;
      const isWanted = isStill && !this.socket.destroyed;
      // A connection that nobody waits for any more begins with nothing: it is dropped.
      if (!isWanted) return result.ok ? result.value.abort() : undefined;
      if (result.ok) this.#begin(result.value, route);
      else if (this.#host.passesLoss === true) return abort(this.socket);
      else this.#refuse(result.error);
      this.#resumePending();
    });
  }

  #resumePending(): void {
    this.socket.resume();
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.#consume(pending);
    if (this.#halfClosed) this.#onEnd();
  }

  #next(): void {
    if (!this.socket.writableNeedDrain) return this.#resumePending();
    this.socket.pause();
    this.deadlineMs = this.#host.coarseNow + this.#host.stalledReaderMs;
  }

  #forwardBody(buffer: Buffer, at: number, upstream: UpstreamExchange): number {
    this.#bodySent = true;
    const next = this.#requestBody.forward(buffer, at, buffer.length, upstream);
    if (next === MALFORMED) {
      upstream.abort();
      this.#upstream = undefined;
      this.#reject(problem("http_framing", "the body's chunks are malformed"));
      return MALFORMED;
    }
    this.requestDone = this.#requestBody.done;
    if (this.requestDone && !upstream.keepsChunks) upstream.end(this.#requestBody.trailers);
    this.#progress += next - at;
    if (this.requestDone || this.#progress >= MIN_PROGRESS_BYTES) this.#moveDeadline();
    if (upstream.needsDrain) {
      this.deadlineMs = this.#host.coarseNow + (this.#route?.requestMs ?? REQUEST_TIMEOUT_MS);
      this.socket.pause();
    }
    return next;
  }

  #moveDeadline(): void {
    this.#progress = 0;
    if (this.#upgraded) return;
    const waitsForBody = !this.requestDone && !this.#responded;
    const ms = waitsForBody ? REQUEST_TIMEOUT_MS : (this.#route?.requestMs ?? IDLE_TIMEOUT_MS);
    this.deadlineMs = this.#host.coarseNow + ms;
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

  // ---- replies of our own and endings -------------------------------------------------------------------------------

  #refuse(reason: Problem): void {
    const reply = localReply(reason.name);
    this.#host.refused(reason, this.request);
    this.#host.answered(reply.http);
    const close = reply.close || !this.requestDone || !this.staysOpen;
    const headOnly = this.request.method === "HEAD";
    this.body.flush();
    this.socket.write(renderProblem(reason, reply.http, close, headOnly), "utf8");
    if (close) return this.#finish();
    this.#becomeIdle();
    this.#next();
  }

  #reject(reason: Problem): void {
    this.#host.refused(reason, undefined);
    const { http } = localReply(reason.name);
    this.#host.answered(http);
    this.body.flush();
    if (!this.#responded) this.socket.write(renderProblem(reason, http, true, false), "utf8");
    this.#finish();
  }

  #becomeIdle(): void {
    this.#active = false;
    this.#responded = false;
    this.requestDone = true;
    this.#route = undefined;
    this.deadlineMs = this.#host.coarseNow + IDLE_TIMEOUT_MS;
  }

  /** Lingering close: the reply must reach a client that still sends (RFC 9112 §9.6). */
  #finish(): void {
    this.#ended = true;
    this.#active = false;
    this.#route = undefined;
    this.#pending = undefined;
    this.#scanned = 0;
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.body.flush();
    this.socket.end();
    this.socket.resume();
    this.deadlineMs = this.#host.coarseNow + LINGER_MS;
  }

  #onDrain = (): void => {
    if (!this.#active) return this.#ended ? undefined : this.#next();
    this.#upstream?.resumeResponse();
    if (this.#upgraded) this.deadlineMs = NO_DEADLINE;
    else this.#moveDeadline();
  };

  #onEnd = (): void => {
    if (this.#gone) return;
    if (this.#upgraded) return void this.#upstream?.end("");
    this.#halfClosed = true;
    if (this.#pending !== undefined && this.#scanned === 0) return;
    if (!this.#active) {
      if (!this.#ended) this.socket.end();
    } else if (!this.requestDone) abort(this.socket);
  };

  #onClose = (): void => {
    this.#route = undefined;
    this.#upstream?.abort();
    this.#upstream = undefined;
    this.#host.closed(this);
  };

  /** Called about once a second by the host. */
  expire(): void {
    const waitsForClient = this.#active ? !this.requestDone : this.#scanned > 0;
    if (waitsForClient && !this.#responded)
      return this.#reject(problem("http_timeout", "the request did not arrive in time"));
    if (this.#active && !this.#responded) return this.#timeOut();
    abort(this.socket);
  }

  #timeOut(): void {
    const ms = this.#route?.requestMs ?? 0;
    this.#upstream?.abort();
    this.#upstream?.suspect();
    this.#upstream = undefined;
    this.#route = undefined;
    this.#refuse(problem("upstream_timeout", `no answer within ${ms / 1000} s`));
  }
}

interface EndWriter {
  write(bytes: Buffer, start: number, end: number): boolean;
  flush(): void;
}

/** A tunnel stream copies what it cannot send at once; a socket keeps what it is given. */
function writerOf(end: RelayEnd): EndWriter {
  if (!(end instanceof TunnelChannel)) return new SocketWriter(end);
  return { write: (bytes, from, to) => end.stream.write(bytes, from, to), flush: () => {} };
}

/** Two writes would be two system calls, each dearer than copying a small body. */
function joined(head: Buffer, buffer: Buffer, from: number, to: number): Buffer {
  const whole = Buffer.allocUnsafe(head.length + to - from);
  head.copy(whole, 0);
  buffer.copy(whole, head.length, from, to);
  return whole;
}

/** RFC 9110 §9.2.2. */
function isIdempotent(method: string): boolean {
  return /^(?:GET|HEAD|OPTIONS|PUT|DELETE)$/.test(method);
}
