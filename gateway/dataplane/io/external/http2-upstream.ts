import type { Socket } from "node:net";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import type { ResponseHead } from "../../http1/response-head.ts";
import { type ConnectionOptions, NO_CONTENT } from "../../http2/connection.ts";
import { ErrorCode } from "../../http2/error-code.ts";
import { keepFields } from "../../http2/kept-fields.ts";
import type { Stream, StreamHandler } from "../../http2/stream.ts";
import { InterimAllowance } from "../../policy/interim-allowance.ts";
import type { Http1Exchange } from "../http1-exchange.ts";
import { Http2Session, socketTransport } from "../http2-session.ts";
import { ignore, readFrom } from "../relay.ts";
import { atTurnEnd, type TurnTask } from "../turn.ts";
import { lastChunk, requestFields, responseHead, trailerFields } from "../judged/http-versions.ts";
import type { UpstreamExchange } from "../judged/upstream-exchange.ts";

// A stalled reader holds at most its stream's window here; pushes and the peer's requests are not taken.
const CONNECTION: ConnectionOptions = {
  role: "client",
  // The request need not wait for the peer's SETTINGS (RFC 9113 §3.4).
  asksAtOnce: true,
  maxStreams: 0,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxFrameBytes: 16 * 1024,
  headers: { listBytes: 32 * 1024, fields: 100 },
  maxQueuedBytes: 32 * 1024 * 1024,
};

const MAX_HEADS = 32;
const MAX_HEAD_BYTES = 2_048;

/** Where its value stands in what `requestFields` answers. */
const SCHEME = 3;

/** One HTTP/2 connection to a far server: many requests of one caller share its records and wake-ups. */
export class Http2Upstream {
  idleSinceMs = 0;
  readonly #session: Http2Session;
  readonly #socket: Socket;
  readonly #onGone: () => void;
  readonly #isSecured: boolean;
  readonly onFree: () => void;
  readonly #heads = new Map<string, readonly string[]>();
  #draining = false;
  #gone = false;
  /** The connection is gone, and with it what was under way. */
  isLost = false;

  /**
   * `socket` has agreed on h2; `onGone` runs once when no more requests can be opened. `isSecured`: requests are asked by https,
   * whatever the client asked by. `onFree`: a request is over, and may make room for another.
   */
  constructor(socket: Socket, onGone: () => void, isSecured: boolean, onFree: () => void = ignore) {
    this.#socket = socket;
    this.#onGone = onGone;
    this.#isSecured = isSecured;
    this.onFree = onFree;
    this.#session = new Http2Session(CONNECTION, socketTransport(socket), {
      onReady: ignore,
      onPong: ignore,
      onGoaway: () => this.drain(),
      onFault: () => this.#lost(),
      onNotice: ignore,
      onRequest: () => {
        throw new TypeError("a client was asked");
      },
    });
    readFrom(socket, { bytes: (buffer, start, end) => this.#session.receive(buffer, start, end) });
    socket.on("error", ignore);
    socket.once("end", () => this.#lost());
    socket.once("close", () => this.#lost());
  }

  get streams(): number {
    return this.#session.connection.streams;
  }

  /** A client's requests mostly have the same head: taking it apart once is enough. */
  fieldsOf(head: string, asked: string | undefined): readonly string[] {
    const scheme = this.#isSecured ? "https" : (asked ?? "http");
    const known = this.#heads.get(head);
    if (known !== undefined && known[SCHEME] === scheme) return known;
    if (this.#heads.size >= MAX_HEADS || head.length > MAX_HEAD_BYTES) this.#heads.clear();
    const fields = keepFields(requestFields(head, scheme));
    this.#heads.set(head, fields);
    return fields;
  }

  /** `undefined`: this connection takes no more now. */
  open(): UpstreamExchange | undefined {
    return this.#draining || !this.#session.connection.takesStreams
      ? undefined
      : new Http2Exchange(this.#session, this);
  }

  /** No new requests; the connection ends after the last one. */
  drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#session.drain();
    this.#leave();
  }

  #lost(): void {
    this.#draining = true;
    this.isLost = true;
    this.#session.lost();
    this.#socket.destroy();
    this.#leave();
  }

  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#onGone();
  }
}

/** One request and its answer on a stream of its own. */
class Http2Exchange implements UpstreamExchange, StreamHandler, TurnTask {
  readonly reused = true;
  readonly keepsChunks = false;
  readonly #session: Http2Session;
  readonly #upstream: Http2Upstream;
  #exchange: Http1Exchange | undefined;
  #stream: Stream | undefined;
  /** Held back for the rest of what arrives together. */
  #head: ResponseHead | undefined;
  #chunked = false;
  #trailers: readonly string[] | undefined;
  #interim: InterimAllowance | undefined;
  #isDone = false;

  constructor(session: Http2Session, upstream: Http2Upstream) {
    this.#session = session;
    this.#upstream = upstream;
  }

  begin(exchange: Http1Exchange, head: string): void {
    this.#exchange = exchange;
    const fields = this.#upstream.fieldsOf(head, exchange.scheme);
    this.#stream = this.#session.connection.request(fields, exchange.requestDone, this);
    if (this.#stream !== undefined && exchange.request.method === "HEAD")
      this.#stream.expectedBytes = NO_CONTENT;
    if (this.#stream === undefined)
      queueMicrotask(() => this.#fail(problem("draining", "the connection takes no more requests")));
  }

  get needsDrain(): boolean {
    return this.#stream?.needDrain ?? false;
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    return this.#stream?.write(bytes, start, end) ?? false;
  }

  end(trailers: string): void {
    this.#stream?.end(trailers === "" ? undefined : trailerFields(trailers));
  }

  pauseResponse(): void {
    this.#stream?.pause();
  }

  resumeResponse(): void {
    this.#stream?.resume();
  }

  abort(): void {
    this.#exchange = undefined;
    this.#isDone = true;
    this.#stream?.reset(ErrorCode.cancel);
  }

  // ---- from the stream ----------------------------------------------------------------------------------------------

  onHeaders(_stream: Stream, fields: readonly string[], ended: boolean): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    const head = responseHead(fields, ended, exchange.request);
    if (head.interim) return this.#onInterim(exchange, head);
    this.#chunked = head.body.kind === "chunked";
    this.#head = head;
    if (!ended) atTurnEnd(this);
  }

  #onInterim(exchange: Http1Exchange, head: ResponseHead): void {
    const now = exchange.coarseNow;
    this.#interim ??= new InterimAllowance(now);
    const refusal =
      head.status === 101 ? problem("upstream_malformed", "101 in HTTP/2") : this.#interim.take(now);
    if (refusal !== undefined) {
      this.abort();
      return exchange.upstreamFailed(this as never, refusal);
    }
    exchange.writeInterim(`${head.forwardable}\r\n`);
    exchange.awaitDrain();
  }

  onTrailers(_stream: Stream, fields: readonly string[]): void {
    this.#trailers = fields;
    this.#exchange?.trailers?.(fields);
  }

  onData(_stream: Stream, buffer: Buffer, start: number, end: number): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    exchange.received(end - start);
    const head = this.#head;
    if (head !== undefined && !this.#chunked) {
      this.#head = undefined;
      exchange.writeResponseHead(head, buffer, start, end);
      return;
    }
    this.#flushHead();
    if (this.#chunked) this.#writeChunk(exchange, buffer, start, end);
    else exchange.body.write(buffer, start, end);
    exchange.awaitDrain();
  }

  onEnd(): void {
    const exchange = this.#exchange;
    if (exchange === undefined) return;
    this.#flushHead();
    if (this.#chunked) {
      // A response with a length, and one to an HTTP/1.0 client, has no place for trailers.
      const last =
        this.#trailers === undefined ? LAST_CHUNK : Buffer.from(lastChunk(this.#trailers), "latin1");
      exchange.body.write(last, 0, last.length);
    }
    this.#exchange = undefined;
    this.#isDone = true;
    // An answer that came before the request was complete: nobody reads the rest of it.
    if (!exchange.requestDone) this.#stream?.reset(ErrorCode.noError);
    exchange.responseDone();
  }

  onDrain(): void {
    this.#exchange?.resumeRequest();
  }

  onClosed(stream: Stream): void {
    if (!this.#isDone) this.#onLost(stream);
    this.#upstream.onFree();
  }

  #onLost(stream: Stream): void {
    const { fault } = stream;
    if (fault !== undefined) return this.#fail(problem("upstream_malformed", fault));
    const refused = stream.rstCode === ErrorCode.refusedStream;
    this.#fail(
      refused
        ? problem("draining", "the far server took no more requests on this connection")
        : problem("upstream_reset", "the far server ended before its response was complete"),
      this.#upstream.isLost ? undefined : stream.rstCode,
    );
  }

  onAltsvc(): void {}

  flush(): void {
    this.#flushHead();
  }

  #flushHead(): void {
    const head = this.#head;
    this.#head = undefined;
    if (head !== undefined) this.#exchange?.writeResponseHead(head);
  }

  #writeChunk(exchange: Http1Exchange, buffer: Buffer, start: number, end: number): void {
    if (end === start) return;
    const size = `${(end - start).toString(16)}\r\n`;
    const chunk = Buffer.allocUnsafe(size.length + end - start + 2);
    chunk.write(size, 0, "latin1");
    buffer.copy(chunk, size.length, start, end);
    chunk.write("\r\n", chunk.length - 2, "latin1");
    exchange.body.write(chunk, 0, chunk.length);
  }

  /** A host that stopped answering one request may have stopped altogether: the next ones go elsewhere. */
  suspect(): void {
    this.#upstream.drain();
  }

  #fail(reason: Problem, rstCode?: number): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    this.#isDone = true;
    exchange?.upstreamFailed(this as never, reason, rstCode);
  }
}

const LAST_CHUNK = Buffer.from(lastChunk(undefined));
