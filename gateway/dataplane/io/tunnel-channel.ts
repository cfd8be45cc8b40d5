import { EventEmitter } from "node:events";
import { ErrorCode } from "../http2/error-code.ts";
import type { Stream, StreamHandler } from "../http2/stream.ts";
import type { Bagged } from "./bag.ts";
import { DRAIN_HINT } from "./tunnel-settings.ts";
import type {
  ByteSink,
  OpenedStream,
  ReceivedFields,
  ResponseFields,
  ServedStream,
} from "./tunnel-stream.ts";

/** A stream of one of our HTTP/2 sessions, as the engine sees it. */
export class TunnelChannel extends EventEmitter implements OpenedStream, ServedStream, StreamHandler, Bagged {
  bagSlot = -1;
  /** Set by `attach`: a stream is made with its handler. */
  stream!: Stream;
  readableEnded = false;
  #sink: ByteSink | undefined;
  readonly #onHint: (() => void) | undefined;

  /** `onHint`: the way of this stream is draining; at most once. */
  constructor(onHint?: () => void) {
    super();
    this.#onHint = onHint;
  }

  /** Nothing is delivered before somebody reads. */
  attach(stream: Stream): this {
    this.stream = stream;
    stream.pause();
    return this;
  }

  get destroyed(): boolean {
    return this.stream.isClosed;
  }

  get closed(): boolean {
    return this.stream.isClosed;
  }

  get rstCode(): number | undefined {
    return this.stream.rstCode;
  }

  get writableFinished(): boolean {
    return this.stream.endSent;
  }

  get writableLength(): number {
    return this.stream.pendingBytes;
  }

  get writableNeedDrain(): boolean {
    return this.stream.needDrain;
  }

  get headersSent(): boolean {
    return this.stream.headSent;
  }

  readTo(sink: ByteSink): void {
    this.#sink = sink;
    this.stream.resume();
  }

  override on(event: string, listener: (...args: never[]) => void): this {
    if (event === "data") this.stream.resume();
    return super.on(event, listener as (...args: unknown[]) => void);
  }

  write(bytes: Buffer | string, encoding: "latin1" | "utf8" = "utf8"): boolean {
    const buffer = typeof bytes === "string" ? Buffer.from(bytes, encoding) : bytes;
    return this.stream.write(buffer, 0, buffer.length);
  }

  respond(fields: ResponseFields, options?: { readonly endStream: boolean }): void {
    this.stream.headers(fieldList(fields), options?.endStream === true);
  }

  hintDrain(): void {
    this.stream.connection.altsvc(this.stream, DRAIN_HINT);
  }

  end(): void {
    this.stream.end();
  }

  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    this.stream.resume();
  }

  close(code: number = ErrorCode.noError): void {
    this.stream.reset(code);
  }

  // ---- from the connection ------------------------------------------------------------------------------------------

  onHeaders(_stream: Stream, fields: readonly string[]): void {
    // HTTP/2 has interim answers too; a tunnel has no use for them.
    if (fields[1]?.charCodeAt(0) !== 0x31) this.emit("response", receivedFields(fields));
  }

  onTrailers(): void {}

  onData(_stream: Stream, buffer: Buffer, start: number, end: number): void {
    if (this.#sink !== undefined) this.#sink.bytes(buffer, start, end);
    else this.emit("data", Buffer.from(buffer.subarray(start, end)));
  }

  onEnd(): void {
    this.readableEnded = true;
    this.emit("end");
  }

  onDrain(): void {
    this.emit("drain");
  }

  onClosed(): void {
    this.emit("close");
  }

  onAltsvc(_stream: Stream, value: string): void {
    if (value === DRAIN_HINT) this.hintedDrain();
  }

  /** The way of this stream drains. */
  hintedDrain(): void {
    this.#onHint?.();
  }
}

/** Fields as a connection wants them: name, value, name, value, … */
export function fieldList(fields: { readonly [name: string]: string | number }): readonly string[] {
  const list: string[] = [];
  for (const name in fields) list.push(name, String(fields[name]));
  return list;
}

export function receivedFields(fields: readonly string[]): ReceivedFields {
  const received: { [name: string]: string | number } = {};
  for (let at = 0; at < fields.length; at += 2) {
    const name = fields[at] ?? "";
    const value = fields[at + 1] ?? "";
    received[name] = name === ":status" ? Number(value) : value;
  }
  return received;
}
