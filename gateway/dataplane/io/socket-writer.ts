import { recycle, SLAB_BYTES, spareSlab } from "../http2/output.ts";
import { atTurnEnd, type TurnTask } from "./turn.ts";

/** The part of a socket that a writer needs. */
export interface WritableSocket {
  readonly destroyed: boolean;
  readonly writableNeedDrain: boolean;
  write(bytes: Buffer, written?: () => void): boolean;
}

// From this size on a piece is likely one of many that arrive in one turn.
const BULK_BYTES = 4_096;

/**
 * Writes bytes that are on loan to a socket, which would keep them: small pieces are copied and written at once, those of bulk
 * data are gathered until the turn ends. What is written to the socket past the writer needs a `flush` first.
 */
export class SocketWriter implements TurnTask {
  readonly #socket: WritableSocket;
  #slab: Buffer | undefined;
  #length = 0;

  constructor(socket: WritableSocket) {
    this.#socket = socket;
  }

  /** `false`: write no more before the socket's `drain`. */
  write(bytes: Buffer, start: number, end: number): boolean {
    if (this.#socket.destroyed) return false;
    if (this.#slab === undefined && end - start < BULK_BYTES)
      return this.#socket.write(copyOf(bytes, start, end));
    let at = start;
    while (at < end) {
      const slab = this.#gather();
      const count = Math.min(end - at, SLAB_BYTES - this.#length);
      bytes.copy(slab, this.#length, at, at + count);
      this.#length += count;
      at += count;
      if (this.#length === SLAB_BYTES) this.flush();
    }
    return !this.#socket.writableNeedDrain;
  }

  flush(): void {
    const slab = this.#slab;
    if (slab === undefined) return;
    this.#slab = undefined;
    if (this.#socket.destroyed) return recycle(slab);
    this.#socket.write(slab.subarray(0, this.#length), () => recycle(slab));
  }

  #gather(): Buffer {
    if (this.#slab !== undefined) return this.#slab;
    this.#slab = spareSlab();
    this.#length = 0;
    atTurnEnd(this);
    return this.#slab;
  }
}

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafe(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}
