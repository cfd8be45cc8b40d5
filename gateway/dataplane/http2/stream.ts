import type { Connection } from "./connection.ts";
import { ByteQueue } from "./byte-queue.ts";
import { ErrorCode } from "./error-code.ts";

/** Told what happens to a stream, in order; after `onClosed` nothing more. Buffers are on loan for the time of the call. */
export interface StreamHandler {
  /** An interim or final response head. */
  onHeaders(stream: Stream, fields: readonly string[], ended: boolean): void;
  onTrailers(stream: Stream, fields: readonly string[]): void;
  onData(stream: Stream, buffer: Buffer, start: number, end: number): void;
  /** The peer's half is complete. Never called for what was cut. */
  onEnd(stream: Stream): void;
  /** What `write` kept is on its way. */
  onDrain(stream: Stream): void;
  onClosed(stream: Stream): void;
  /** An ALTSVC frame (RFC 7838 §4). */
  onAltsvc(stream: Stream, value: string): void;
}

/** So much a stream keeps before it asks its writer to wait. */
const HIGH_WATER_BYTES = 64 * 1024;

/** One stream of a connection (RFC 9113 §5.1): its state, its windows, and what waits for them. */
export class Stream {
  readonly id: number;
  readonly connection: Connection;
  handler: StreamHandler;
  /** Octets we may send; negative after the peer shrank it. */
  sendWindow: number;
  /** Octets the peer may send. */
  receiveWindow: number;
  /** Octets that were taken and not yet given back by WINDOW_UPDATE. */
  taken = 0;
  /** Our half is complete, or will be when what waits is sent. */
  isEnding = false;
  endSent = false;
  endReceived = false;
  endDelivered = false;
  /** Of the peer; they wait until all content is delivered. */
  receivedTrailers: readonly string[] | undefined;
  headReceived = false;
  headSent = false;
  isClosed = false;
  isPaused = false;
  needDrain = false;
  /** In the connection's list of streams with something to send. */
  isWaiting = false;
  /** Of the connection's table. */
  nextInTable: Stream | undefined;
  rstCode: number | undefined;
  /** By what the peer broke the protocol; we reset the stream for it. */
  fault: string | undefined;
  /** From content-length; -1: not said. */
  expectedBytes = -1;
  receivedBytes = 0;
  /** To be sent. */
  #pending: ByteQueue | undefined;
  /** To be delivered. */
  #queue: ByteQueue | undefined;
  #trailers: readonly string[] | undefined;

  constructor(id: number, connection: Connection, handler: StreamHandler, send: number, receive: number) {
    this.id = id;
    this.connection = connection;
    this.handler = handler;
    this.sendWindow = send;
    this.receiveWindow = receive;
  }

  get pendingBytes(): number {
    return this.#pending?.length ?? 0;
  }

  get queuedBytes(): number {
    return this.#queue?.length ?? 0;
  }

  // ---- sending ------------------------------------------------------------------------------------------------------

  /** Copies or sends `[start, end)`; `false`: write no more before `drain`. */
  write(buffer: Buffer, start: number, end: number): boolean {
    if (this.isClosed || this.isEnding) return false;
    const sent = this.pendingBytes > 0 ? 0 : this.connection.sendData(this, buffer, start, end, false);
    if (sent < end - start) this.#keep(buffer, start + sent, end);
    if (this.pendingBytes >= HIGH_WATER_BYTES) this.needDrain = true;
    return !this.needDrain;
  }

  /** Completes our half, with trailers if given. */
  end(trailers?: readonly string[]): void {
    if (this.isClosed || this.isEnding) return;
    this.isEnding = true;
    this.#trailers = trailers;
    if (this.pendingBytes === 0) this.#finish();
  }

  headers(fields: readonly string[], ended: boolean): void {
    if (this.isClosed || this.isEnding) return;
    this.headSent = true;
    if (ended) this.isEnding = true;
    this.connection.sendHeaders(this, fields, ended);
    if (ended) this.connection.localEnd(this);
  }

  /** RST_STREAM; `onClosed` follows within this turn. */
  reset(code: number): void {
    if (!this.isClosed) this.connection.resetStream(this, code);
  }

  /** Sends what waits as far as windows and `limit` allow; returns the octets sent. */
  pump(limit: number): number {
    const pending = this.#pending;
    let left = limit;
    for (let chunk = pending?.first; pending !== undefined && chunk !== undefined && left > 0; ) {
      const end = Math.min(chunk.end, chunk.start + left);
      const sent = this.connection.sendData(this, chunk.bytes, chunk.start, end, false);
      if (sent === 0) break;
      left -= sent;
      pending.shift(sent);
      chunk = pending.first;
    }
    if (this.pendingBytes === 0 && this.isEnding && !this.endSent) this.#finish();
    return limit - left;
  }

  /** From the connection: its transport is gone. */
  abandonSending(): void {
    this.#pending = undefined;
    this.isEnding = true;
    this.endSent = true;
  }

  drained(): void {
    if (!this.needDrain || this.pendingBytes > 0 || this.isClosed) return;
    this.needDrain = false;
    this.handler.onDrain(this);
  }

  #keep(buffer: Buffer, start: number, end: number): void {
    this.#pending ??= new ByteQueue();
    this.#pending.push(buffer, start, end);
    this.connection.awaitTurn(this);
  }

  #finish(): void {
    if (this.#trailers === undefined) this.connection.sendEnd(this);
    else this.connection.sendHeaders(this, this.#trailers, true);
    this.connection.localEnd(this);
  }

  // ---- receiving ----------------------------------------------------------------------------------------------------

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    this.connection.awaitResume(this);
  }

  /** From the connection: content has come. */
  deliver(buffer: Buffer, start: number, end: number): void {
    if (!this.isPaused && this.queuedBytes === 0) {
      this.handler.onData(this, buffer, start, end);
      this.connection.credit(this, end - start);
      return;
    }
    this.#queue ??= new ByteQueue();
    this.#queue.push(buffer, start, end);
    this.connection.queuedBytes += end - start;
  }

  /** From the connection: hands over what came while paused. */
  deliverQueue(): void {
    while (!this.isPaused && !this.isClosed) {
      const chunk = this.#queue?.first;
      if (chunk === undefined) break;
      const { bytes, start, end } = chunk;
      const queue = this.#queue;
      this.handler.onData(this, bytes, start, end);
      // The handler may have ended the stream, and with it the queue.
      if (queue === undefined || this.isClosed) return;
      queue.shift(end - start);
      this.connection.queuedBytes -= end - start;
      this.connection.credit(this, end - start);
    }
    this.deliverEnd();
  }

  deliverEnd(): void {
    if (!this.endReceived || this.endDelivered || this.isPaused || this.queuedBytes > 0 || this.isClosed)
      return;
    this.endDelivered = true;
    if (this.receivedTrailers !== undefined) this.handler.onTrailers(this, this.receivedTrailers);
    this.handler.onEnd(this);
    if (this.endSent) this.connection.complete(this);
  }

  /** From the connection: over; nothing is kept. */
  drop(): void {
    this.connection.queuedBytes -= this.queuedBytes;
    this.#queue = undefined;
    this.#pending = undefined;
  }

  get wasCut(): boolean {
    return this.rstCode !== undefined && this.rstCode !== ErrorCode.noError;
  }
}
