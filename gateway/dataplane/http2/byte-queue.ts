import { recycle, SLAB_BYTES, spareSlab } from "./output.ts";

const MIN_CHUNK_BYTES = 512;
// From here on a queue takes slabs, which are used again: bulk data must not leave its weight to the garbage collector.
const SLAB_FROM_BYTES = 32 * 1024;

interface Chunk {
  readonly bytes: Buffer;
  start: number;
  end: number;
}

/** Bytes that wait, copied from where they were on loan. Many small pieces share a chunk, so that each costs a copy and no more. */
export class ByteQueue {
  length = 0;
  readonly #chunks: Chunk[] = [];

  push(buffer: Buffer, start: number, end: number): void {
    let at = start;
    this.length += end - start;
    while (at < end) {
      const chunk = this.#tail(end - at);
      const count = Math.min(end - at, chunk.bytes.length - chunk.end);
      buffer.copy(chunk.bytes, chunk.end, at, at + count);
      chunk.end += count;
      at += count;
    }
  }

  /** The oldest bytes, as many as lie in a row; `undefined` if there are none. */
  get first(): Chunk | undefined {
    return this.#chunks[0];
  }

  /** Takes so many of `first` off; the bytes are no longer its reader's. */
  shift(octets: number): void {
    const chunk = this.#chunks[0];
    if (chunk === undefined) return;
    chunk.start += octets;
    this.length -= octets;
    if (chunk.start < chunk.end) return;
    this.#chunks.shift();
    if (chunk.bytes.length === SLAB_BYTES) recycle(chunk.bytes);
  }

  clear(): void {
    this.#chunks.length = 0;
    this.length = 0;
  }

  /** A chunk with room: as large as what waits already, so that a queue of n bytes has log n chunks until they are large. */
  #tail(wanted: number): Chunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && last.end < last.bytes.length) return last;
    const size = Math.max(MIN_CHUNK_BYTES, wanted, this.length);
    const bytes = size < SLAB_FROM_BYTES ? Buffer.allocUnsafeSlow(size) : spareSlab();
    const chunk = { bytes, start: 0, end: 0 };
    this.#chunks.push(chunk);
    return chunk;
  }
}
