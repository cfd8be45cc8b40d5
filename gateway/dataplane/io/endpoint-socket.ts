import { Socket } from "node:net";
import type { ByteSink } from "./tunnel-stream.ts";

const READ_BYTES = 128 * 1024;

/** What any endpoint sends is read here and handed on before the next read: a buffer per read would cost more than the read. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

type Written = (error?: Error | null) => void;

/**
 * A connection to a workload, read through one buffer that all of them share. Call `readTo` before it connects.
 *
 * A workload may answer and close before it has read all that it was asked. Its kernel resets the connection then, and what is
 * written from here fails; the answer is in our kernel all the same. So a write that fails is not the end: what is written goes
 * nowhere, and what is here is read, up to the end, which is the loss of the connection and no good order.
 */
export class EndpointSocket extends Socket {
  #sink: ByteSink | undefined;
  #lost: Error | undefined;
  #written: Written | undefined;
  #hasEnded = false;
  readonly #onWritten: Written = (error) => {
    if (error === undefined || error === null || this.#hasEnded) return this.#written?.(error);
    this.#lost ??= error;
    this.#written?.();
  };

  constructor() {
    super({
      allowHalfOpen: true,
      onread: { buffer: shared, callback: (length, buffer) => this.#onRead(length, buffer) },
    });
    this.setNoDelay(true);
  }

  readTo(sink: ByteSink): void {
    this.#sink = sink;
  }

  override _write(chunk: unknown, encoding: BufferEncoding, written: Written): void {
    this.#written = written;
    super._write(chunk, encoding, this.#onWritten);
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], written: Written): void {
    this.#written = written;
    super._writev?.(chunks, this.#onWritten);
  }

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null) return super.push(chunk, encoding);
    this.#hasEnded = true;
    if (this.#lost === undefined) return super.push(null);
    this.destroy(this.#lost);
    return false;
  }

  #onRead(length: number, buffer: Uint8Array): boolean {
    this.#sink?.bytes(buffer as Buffer, 0, length);
    return true;
  }
}
