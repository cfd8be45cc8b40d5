import { FRAME_HEAD_BYTES, readUint31 } from "./frame.ts";

/** One write of bulk data; OpenSSL takes it without a copy and makes records of it. */
export const SLAB_BYTES = 128 * 1024;
const MAX_SPARE = 32;
const spare: Buffer[] = [];

export function spareSlab(): Buffer {
  return spare.pop() ?? Buffer.allocUnsafeSlow(SLAB_BYTES);
}

/** A slab whose bytes were taken by the kernel may be written to again. */
export function recycle(slab: Buffer): void {
  if (slab.length === SLAB_BYTES && spare.length < MAX_SPARE) spare.push(slab);
}

/** A filled part of a slab. */
export interface Filled {
  readonly slab: Buffer;
  readonly length: number;
}

/**
 * Bytes on their way out of one connection, gathered until the end of the turn. Idle connections hold no slab.
 */
export class Output {
  readonly #full: Filled[] = [];
  #slab: Buffer | undefined;
  #at = 0;
  #bytes = 0;
  /** Where the head of the last frame stands in `#slab`; -1: not there. */
  #lastHead = -1;

  get bytes(): number {
    return this.#bytes + this.#at;
  }

  /** Takes the oldest part; it is given back by `recycle` when it is written. */
  take(): Filled | undefined {
    const full = this.#full.shift();
    if (full !== undefined) {
      this.#bytes -= full.length;
      return full;
    }
    if (this.#slab === undefined || this.#at === 0) return undefined;
    const part = { slab: this.#slab, length: this.#at };
    this.#slab = undefined;
    this.#at = 0;
    this.#lastHead = -1;
    return part;
  }

  /** The head of a frame whose payload follows. */
  head(type: number, flags: number, stream: number, length: number): void {
    const slab = this.#reserve(FRAME_HEAD_BYTES);
    const at = this.#at;
    this.#lastHead = at;
    slab[at] = length >>> 16;
    slab[at + 1] = length >>> 8;
    slab[at + 2] = length;
    slab[at + 3] = type;
    slab[at + 4] = flags;
    slab[at + 5] = stream >>> 24;
    slab[at + 6] = stream >>> 16;
    slab[at + 7] = stream >>> 8;
    slab[at + 8] = stream;
    this.#at = at + FRAME_HEAD_BYTES;
  }

  /** Gives the last frame these flags too, if it is of this type and stream and has not left yet. */
  amend(type: number, flags: number, stream: number): boolean {
    const [slab, at] = [this.#slab, this.#lastHead];
    if (slab === undefined || at < 0 || slab[at + 3] !== type || readUint31(slab, at + 5) !== stream)
      return false;
    slab[at + 4] = (slab[at + 4] ?? 0) | flags;
    return true;
  }

  uint32(value: number): void {
    this.#at = this.#reserve(4).writeUInt32BE(value, this.#at);
  }

  uint16(value: number): void {
    this.#at = this.#reserve(2).writeUInt16BE(value, this.#at);
  }

  copy(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const slab = this.#reserve(1);
      const count = Math.min(end - at, slab.length - this.#at);
      buffer.copy(slab, this.#at, at, at + count);
      this.#at += count;
      at += count;
    }
  }

  latin1(text: string): void {
    const slab = this.#reserve(text.length);
    this.#at += slab.write(text, this.#at, "latin1");
  }

  /** `bytes` in a row; at most a slab. */
  #reserve(bytes: number): Buffer {
    let slab = this.#slab;
    if (slab !== undefined && this.#at + bytes <= slab.length) return slab;
    if (slab !== undefined) {
      this.#full.push({ slab, length: this.#at });
      this.#bytes += this.#at;
    }
    slab = spareSlab();
    this.#slab = slab;
    this.#at = 0;
    this.#lastHead = -1;
    return slab;
  }
}
