import { ErrorCode } from "./error-code.ts";
import { Flag, FRAME_HEAD_BYTES, FrameType } from "./frame.ts";

/** What the reader tells of what it reads. Buffers are on loan for the time of the call. */
export interface FrameSink {
  /** A whole frame of any type but DATA. */
  frame(type: number, flags: number, stream: number, buffer: Buffer, start: number, end: number): void;
  /** The head of a DATA frame; `length` is what flow control counts. Its content follows in pieces, and then `dataEnd`. */
  dataStart(flags: number, stream: number, length: number): void;
  data(buffer: Buffer, start: number, end: number): void;
  dataEnd(flags: number): void;
  /** The reader reads no more. */
  fault(code: number, detail: string): void;
}

/**
 * Cuts a byte stream into frames (RFC 9113 §4). DATA is handed on as it comes; other frames are handed over whole, from where they
 * lie if they lie there whole.
 */
export class FrameReader {
  readonly #sink: FrameSink;
  readonly #maxFrameBytes: number;
  /** A frame that did not come whole, from its head on. */
  #partial: Buffer = Buffer.allocUnsafeSlow(64);
  #partialBytes = 0;
  /** Of the DATA frame under way. */
  #dataFlags = 0;
  #dataLeft = 0;
  #paddingLeft = 0;
  #awaitsPadLength = false;
  #isData = false;
  #stopped = false;

  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink;
    this.#maxFrameBytes = maxFrameBytes;
  }

  /** Nothing more is read, not even the rest of the buffer at hand. */
  stop(): void {
    this.#stopped = true;
    this.#partial = Buffer.alloc(0);
  }

  read(buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end && !this.#stopped) {
      if (this.#isData) at = this.#readData(buffer, at, end);
      else if (this.#partialBytes > 0) at = this.#readPartial(buffer, at, end);
      else at = this.#readFrame(buffer, at, end);
    }
  }

  /** A frame that begins in this buffer. */
  #readFrame(buffer: Buffer, at: number, end: number): number {
    const have = end - at;
    if (have < FRAME_HEAD_BYTES) return this.#keep(buffer, at, end, FRAME_HEAD_BYTES);
    if (!this.#accept(buffer, at)) return end;
    const type = buffer[at + 3] ?? 0;
    if (type === FrameType.data) {
      this.#beginData(buffer, at);
      return at + FRAME_HEAD_BYTES;
    }
    const whole = FRAME_HEAD_BYTES + lengthAt(buffer, at);
    if (have < whole) return this.#keep(buffer, at, end, whole);
    this.#hand(buffer, at, at + whole);
    return at + whole;
  }

  /** More of a frame that began in an earlier buffer. */
  #readPartial(buffer: Buffer, at: number, end: number): number {
    const wantsHead = this.#partialBytes < FRAME_HEAD_BYTES;
    const whole = wantsHead ? FRAME_HEAD_BYTES : FRAME_HEAD_BYTES + lengthAt(this.#partial, 0);
    const next = Math.min(end, at + whole - this.#partialBytes);
    this.#keep(buffer, at, next, whole);
    if (this.#partialBytes < whole) return next;
    const partial = this.#partial;
    if (wantsHead) {
      if (!this.#accept(partial, 0)) return end;
      if (partial[3] === FrameType.data) {
        this.#partialBytes = 0;
        this.#beginData(partial, 0);
        return next;
      }
      if (lengthAt(partial, 0) > 0) return next;
    }
    this.#partialBytes = 0;
    this.#hand(partial, 0, whole);
    // A large frame's buffer does not stay with an idle connection.
    if (partial.length > 1_024) this.#partial = Buffer.allocUnsafeSlow(64);
    return next;
  }

  #keep(buffer: Buffer, start: number, end: number, whole: number): number {
    if (this.#partial.length < whole) {
      const larger = Buffer.allocUnsafeSlow(whole);
      this.#partial.copy(larger, 0, 0, this.#partialBytes);
      this.#partial = larger;
    }
    buffer.copy(this.#partial, this.#partialBytes, start, end);
    this.#partialBytes += end - start;
    return end;
  }

  #accept(buffer: Buffer, at: number): boolean {
    if (lengthAt(buffer, at) <= this.#maxFrameBytes) return true;
    this.#fault(ErrorCode.frameSizeError, `a frame of ${lengthAt(buffer, at)} bytes`);
    return false;
  }

  #hand(buffer: Buffer, at: number, end: number): void {
    const stream = buffer.readUInt32BE(at + 5) & 0x7fff_ffff;
    this.#sink.frame(buffer[at + 3] ?? 0, buffer[at + 4] ?? 0, stream, buffer, at + FRAME_HEAD_BYTES, end);
  }

  #beginData(buffer: Buffer, at: number): void {
    const length = lengthAt(buffer, at);
    const flags = buffer[at + 4] ?? 0;
    this.#awaitsPadLength = (flags & Flag.padded) !== 0;
    if (this.#awaitsPadLength && length === 0)
      return this.#fault(ErrorCode.frameSizeError, "padded DATA without its padding");
    this.#isData = true;
    this.#dataFlags = flags;
    this.#dataLeft = length;
    this.#paddingLeft = 0;
    this.#sink.dataStart(flags, buffer.readUInt32BE(at + 5) & 0x7fff_ffff, length);
    if (length === 0) this.#endData();
  }

  #readData(buffer: Buffer, start: number, end: number): number {
    let at = start;
    if (this.#awaitsPadLength) {
      this.#awaitsPadLength = false;
      const padding = buffer[at] ?? 0;
      at += 1;
      this.#dataLeft -= 1 + padding;
      if (this.#dataLeft < 0) {
        this.#fault(ErrorCode.protocolError, "DATA is shorter than its padding");
        return end;
      }
      this.#paddingLeft = padding;
    }
    if (this.#dataLeft > 0) {
      const next = Math.min(end, at + this.#dataLeft);
      this.#dataLeft -= next - at;
      if (next > at) this.#sink.data(buffer, at, next);
      at = next;
    }
    if (this.#dataLeft === 0) {
      const skipped = Math.min(this.#paddingLeft, end - at);
      this.#paddingLeft -= skipped;
      at += skipped;
      if (this.#paddingLeft === 0) this.#endData();
    }
    return at;
  }

  #endData(): void {
    this.#isData = false;
    this.#sink.dataEnd(this.#dataFlags);
  }

  #fault(code: number, detail: string): void {
    this.#stopped = true;
    this.#sink.fault(code, detail);
  }
}

function lengthAt(buffer: Buffer, at: number): number {
  return ((buffer[at] ?? 0) << 16) | ((buffer[at + 1] ?? 0) << 8) | (buffer[at + 2] ?? 0);
}
