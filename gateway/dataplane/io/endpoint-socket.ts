import { Socket } from "node:net";
import type { ByteSink } from "./tunnel-stream.ts";

const READ_BYTES = 128 * 1024;

/** What any endpoint sends is read here and handed on before the next read: a buffer per read would cost more than the read. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/** A connection to a workload, read through one buffer that all of them share. Call `readTo` before it connects. */
export class EndpointSocket extends Socket {
  #sink: ByteSink | undefined;

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

  #onRead(length: number, buffer: Uint8Array): boolean {
    this.#sink?.bytes(buffer as Buffer, 0, length);
    return true;
  }
}
