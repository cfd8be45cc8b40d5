// Longer than other files: reading and answering are one state machine over the same private state.
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { DEFAULT_HEAD_LIMITS } from "../http1/outcome.ts";
import type { RequestHead } from "../http1/request-head.ts";
import { RequestHeadReader } from "../http1/request-head-reader.ts";
import type { RequestForms } from "../http1/request-line.ts";
import { followedBy, withoutChunked } from "../http1/response-bytes.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import { IDLE_TIMEOUT_MS, MIN_PROGRESS_BYTES, REQUEST_TIMEOUT_MS } from "./client-patience.ts";
import { BodyForwarder, type BodyTarget, MALFORMED } from "./http1-body.ts";
import { type EndWriter, writerOf } from "./end-writer.ts";
import { abort, type RelayEnd } from "./relay.ts";

const LINGER_MS = 2_000;
// Read of a client whose request waits: most requests end within it, and only behind all that was sent is its end seen.
const MAX_WATCHED_BYTES = 16 * 1024;
const NO_DEADLINE = 0;

/** What holds for all clients of one listener. */
export interface DownstreamHost {
  /** Milliseconds, moved on once a second: deadlines need no better. */
  readonly coarseNow: number;
  readonly draining: boolean;
  /** A client that takes nothing of its answer for so long is cut. */
  readonly stalledReaderMs: number;
  /** `proxy`: the client may name other hosts than its own connection's, by CONNECT and absolute-form. */
  readonly forms: RequestForms;
}

/** Serves the requests that are found on a connection. */
export interface RequestServer {
  /** A request has come, up to the body's first byte at `at`. */
  serve(head: RequestHead, buffer: Buffer, at: number): void;
  /** Where the body of the request under way goes; as long as that is nowhere, it waits. */
  readonly bodyTarget: BodyTarget | undefined;
  /** So much more of the body has gone there. Answers whether more may follow at once. */
  bodySent(bytes: number): boolean;
  /** What came is no request. */
  reject(reason: Problem): void;
}

/**
 * The client's side of one HTTP/1.1 connection. Requests are served one at a time: bytes of the next wait (and the socket is
 * paused) until the response is complete, so nothing is ever answered out of order and little is ever buffered.
 */
export class Http1Downstream {
  /** For bytes that are on loan; what is written past it comes after a `flush`. */
  readonly writer: EndWriter;
  /** The request under way; valid between its head and the end of its response. */
  request!: RequestHead;
  /** Everything of the request is here. */
  requestDone = true;
  /** A request is under way. */
  isActive = false;
  /** Some of the request's body has left. */
  hasSentBody = false;
  /** The answer has begun. */
  hasResponded = false;
  isUpgraded = false;
  /** No request follows the one under way. */
  isEnding = false;
  deadlineMs: number;
  /** How long the far side may be silent. */
  answerMs: number;
  readonly #socket: RelayEnd;
  readonly #server: RequestServer;
  readonly #host: DownstreamHost;
  readonly #heads = new RequestHeadReader(DEFAULT_HEAD_LIMITS);
  readonly #body = new BodyForwarder();
  #isReleased = false;
  #halfClosed = false;
  #watchesEnd = false;
  #pending: Buffer | undefined;
  /** Bytes of an unfinished head that were looked at already. */
  #scanned = 0;
  /** Body bytes since the deadline was last moved. */
  #progress = 0;

  constructor(socket: RelayEnd, server: RequestServer, host: DownstreamHost, answerMs: number) {
    this.writer = writerOf(socket);
    this.deadlineMs = host.coarseNow + IDLE_TIMEOUT_MS;
    this.answerMs = answerMs;
    this.#socket = socket;
    this.#server = server;
    this.#host = host;
  }

  /** Whether the connection outlives the response under way. */
  get staysOpen(): boolean {
    const nothingFollows = this.#halfClosed && this.#pending === undefined;
    const mayStay = this.request.keepAlive && this.requestDone && !this.#host.draining;
    return mayStay && !this.isEnding && !nothingFollows;
  }

  /** The request under way is complete, and the client said that no other follows. */
  get isLast(): boolean {
    const isWhole = this.isActive && this.requestDone && this.#pending === undefined;
    return isWhole && !this.request.keepAlive;
  }

  /** The client has ended its half. */
  get hasEnded(): boolean {
    return this.#halfClosed;
  }

  /** Whether no request is under way or arriving, and none was for so long. */
  isIdle(forMs: number): boolean {
    const idleMs = this.#host.coarseNow - (this.deadlineMs - IDLE_TIMEOUT_MS);
    return !this.isActive && !this.isEnding && this.#scanned === 0 && idleMs >= forMs;
  }

  /** What the connection waits for when its deadline is over. */
  get awaited(): "request" | "response" | "nothing" {
    if (this.#socket.writableNeedDrain) return "nothing";
    const isArriving = this.isActive ? !this.requestDone : this.#scanned > 0;
    if (isArriving && !this.hasResponded) return "request";
    return this.isActive && !this.hasResponded ? "response" : "nothing";
  }

  // ---- from the client ----------------------------------------------------------------------------------------------

  /** The bytes that wait, and these after them. */
  withPending(chunk: Buffer): Buffer {
    const buffer = this.#pending === undefined ? chunk : Buffer.concat([this.#pending, chunk]);
    this.#pending = undefined;
    return buffer;
  }

  /** Takes heads and bodies off the buffer until it is used up or a response must come first. */
  read(buffer: Buffer): void {
    let at = 0;
    while (at < buffer.length && !this.#socket.destroyed && !this.#isReleased) {
      if (!this.isActive) {
        if (this.isEnding) return;
        if (this.#socket.writableNeedDrain) return this.#keep(buffer, at);
        const { forms } = this.#host;
        const outcome = this.#heads.read(buffer, at, buffer.length, at + this.#scanned, forms);
        if (outcome.kind === "need-more") return this.awaitHead(buffer, at);
        this.#scanned = 0;
        if (outcome.kind === "invalid") return this.#server.reject(problem(outcome.problem, outcome.detail));
        at += outcome.head.byteLength;
        this.#begin(outcome.head);
        this.#server.serve(outcome.head, buffer, at);
      } else {
        const target = this.requestDone ? undefined : this.#server.bodyTarget;
        if (target === undefined) return this.#keep(buffer, at);
        at = this.#forwardBody(buffer, at, target);
        if (at === MALFORMED) return;
      }
    }
  }

  /** What is there of a head waits for the rest. */
  awaitHead(buffer: Buffer, at: number): void {
    if (this.#scanned === 0) this.deadlineMs = this.#host.coarseNow + REQUEST_TIMEOUT_MS;
    this.#pending = at === 0 ? buffer : buffer.subarray(at);
    this.#scanned = buffer.length - at;
  }

  /** `keepChunks`: whether a chunked body goes on in chunks, or as its bare content. */
  expectBody(keepChunks: boolean): void {
    if (!this.requestDone) this.#body.reset(this.request.body, keepChunks);
  }

  /** Of a body that went on without its chunks. */
  get trailers(): string {
    return this.#body.trailers;
  }

  /** Half-close after complete requests still gets their answers; half a request gets none. */
  halfClose(): void {
    this.#halfClosed = true;
    const waitsHere = this.#pending !== undefined && this.#scanned === 0;
    if (waitsHere) return;
    if (this.isActive) {
      if (!this.requestDone) abort(this.#socket);
    } else if (!this.isEnding) {
      // A second end() would make an error with its stack, a tenth of what a short connection costs.
      this.#socket.end();
    }
  }

  /** The client reads again. Answers whether it waits for the rest of an answer. */
  drained(): boolean {
    if (!this.isActive) {
      if (!this.isEnding) this.next();
      return false;
    }
    if (this.isUpgraded) this.deadlineMs = NO_DEADLINE;
    else this.moveDeadline();
    return true;
  }

  #begin(head: RequestHead): void {
    this.request = head;
    this.requestDone = head.body.kind === "none";
    this.isActive = true;
    this.hasSentBody = false;
  }

  #forwardBody(buffer: Buffer, at: number, target: BodyTarget): number {
    this.hasSentBody = true;
    const next = this.#body.forward(buffer, at, buffer.length, target);
    if (next === MALFORMED) {
      this.#server.reject(problem("http_framing", "the body's chunks are malformed"));
      return MALFORMED;
    }
    this.requestDone = this.#body.done;
    this.#progress += next - at;
    const takesMore = this.#server.bodySent(next - at);
    if (this.requestDone || this.#progress >= MIN_PROGRESS_BYTES) this.moveDeadline();
    if (!takesMore) {
      // The far side is slow, not the client: the client's clock stops.
      this.deadlineMs = this.#host.coarseNow + this.answerMs;
      this.#socket.pause();
    }
    return next;
  }

  #keep(buffer: Buffer, at: number): void {
    this.#pending = at === 0 ? buffer : buffer.subarray(at);
    if (!this.#watchesEnd || this.#pending.length > MAX_WATCHED_BYTES) this.#socket.pause();
  }

  /**
   * Until `resume`: the request under way goes nowhere yet, and a client that leaves meanwhile should be noticed. Its clock stands still,
   * since no more than a part of its request is taken.
   */
  watchEnd(): void {
    this.#watchesEnd = true;
    this.deadlineMs = this.#host.coarseNow + this.answerMs;
  }

  // ---- towards the client -------------------------------------------------------------------------------------------

  /** Head and body as they came. */
  pass(buffer: Buffer, at: number, end: number): void {
    this.hasResponded = true;
    this.writer.write(buffer, at, end);
  }

  /** The head with `fields` for its lines, in one write with the body where that is at hand (`buffer` from `bodyAt` to `end`). */
  respond(head: ResponseHead, fields: string, buffer?: Buffer, bodyAt = 0, end = 0): void {
    this.hasResponded = true;
    const { minor } = this.request;
    const mustClose = !this.staysOpen || head.body.kind === "until-close" || minor === 0;
    if (mustClose) this.isEnding = true;
    this.writer.flush();
    const isUnchanged = !mustClose && fields === head.forwardable;
    if (isUnchanged && head.wire !== undefined && buffer !== undefined)
      return void this.#socket.write(followedBy(head.wire, buffer, bodyAt, end));
    const text = minor === 0 ? withoutChunked(fields) : fields;
    const last = text + (mustClose ? "connection: close\r\n\r\n" : "\r\n");
    if (buffer === undefined) this.#socket.write(last, "latin1");
    else this.#socket.write(followedBy(last, buffer, bodyAt, end));
  }

  /** HTTP/1.0 knows no interim answers (RFC 9110 §15.2). */
  inform(head: string): void {
    this.writer.flush();
    if (this.request.minor === 1) this.#socket.write(head, "latin1");
  }

  /** An answer of our own. */
  reply(text: string): void {
    this.writer.flush();
    this.#socket.write(text, "utf8");
  }

  /** From here on bytes pass both ways; answers what came early of them. */
  upgrade(): Buffer | undefined {
    this.isUpgraded = true;
    this.hasResponded = true;
    this.deadlineMs = NO_DEADLINE;
    const early = this.#pending;
    this.#pending = undefined;
    return early;
  }

  /** Whether the client leaves its answer unread: only this request's stream waits. */
  isBehind(): boolean {
    if (this.#socket.writableNeedDrain) {
      this.deadlineMs = this.#host.coarseNow + this.#host.stalledReaderMs;
      return true;
    }
    // What the far side says while the request still arrives gives the client no more time for it.
    if (this.requestDone || this.hasResponded) this.moveDeadline();
    return false;
  }

  // ---- from one request to the next ---------------------------------------------------------------------------------

  /** The far side takes more of the request's body. */
  resumeBody(): void {
    if (this.isActive && !(this.requestDone && this.#pending !== undefined)) this.#socket.resume();
  }

  /** Goes on with what waits. */
  resume(): void {
    this.#watchesEnd = false;
    this.#socket.resume();
    const pending = this.#pending;
    this.#pending = undefined;
    if (pending !== undefined) this.read(pending);
    if (this.#halfClosed) this.halfClose();
  }

  /** On to the next request, unless the client does not even read its answers: those must not pile up here. */
  next(): void {
    if (!this.#socket.writableNeedDrain) return this.resume();
    this.#socket.pause();
    this.deadlineMs = this.#host.coarseNow + this.#host.stalledReaderMs;
  }

  becomeIdle(): void {
    this.isActive = false;
    this.hasResponded = false;
    this.deadlineMs = this.#host.coarseNow + IDLE_TIMEOUT_MS;
  }

  moveDeadline(): void {
    this.#progress = 0;
    if (this.isUpgraded) return;
    const waitsForBody = !this.requestDone && !this.hasResponded;
    this.deadlineMs = this.#host.coarseNow + (waitsForBody ? REQUEST_TIMEOUT_MS : this.answerMs);
  }

  // ---- endings ------------------------------------------------------------------------------------------------------

  /** What still comes on the socket is somebody else's. */
  release(): void {
    this.#isReleased = true;
  }

  /** Nothing more is read, and all that was written is on its way. */
  stop(): void {
    this.isEnding = true;
    this.isActive = false;
    this.#pending = undefined;
    this.#scanned = 0;
    this.writer.flush();
  }

  /** Lingering close: the reply must reach a client that still sends (RFC 9112 §9.6). */
  linger(): void {
    this.#socket.end();
    this.#socket.resume();
    this.deadlineMs = this.#host.coarseNow + LINGER_MS;
  }
}
