import type { BodyTarget } from "./http1-body.ts";

/** A body that has to be kept to be sent once more is kept up to here; longer ones are sent once. */
export const MAX_COPY_BYTES = 64 * 1024;

/** Keeps what passes on its way to a target, until it is too much. */
export class BodyCopy implements BodyTarget {
  overflowed = false;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #target: BodyTarget | undefined;

  /** What is written from now on goes to `target` as well. */
  to(target: BodyTarget): this {
    this.#target = target;
    return this;
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    this.#keep(bytes, start, end);
    return this.#target?.write(bytes, start, end) ?? true;
  }

  get chunks(): readonly Buffer[] {
    return this.#chunks;
  }

  /** A copy: the bytes are on loan. */
  #keep(bytes: Buffer, start: number, end: number): void {
    if (this.overflowed) return;
    this.#bytes += end - start;
    if (this.#bytes <= MAX_COPY_BYTES) {
      this.#chunks.push(Buffer.from(bytes.subarray(start, end)));
      return;
    }
    this.overflowed = true;
    this.#chunks = [];
  }
}
