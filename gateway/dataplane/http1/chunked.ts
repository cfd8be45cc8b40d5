import { areExtensions, type ChunkedLimits, DEFAULT_CHUNKED_LIMITS, readTrailers } from "./chunked-lines.ts";
import { CR, HEX_VALUE, LF, SEMICOLON, ZERO } from "./octets.ts";
import { latin1 } from "./latin1.ts";
import { octetName } from "./outcome.ts";

export { type ChunkedLimits, DEFAULT_CHUNKED_LIMITS } from "./chunked-lines.ts";

/** Takes what a decoder passes on: a slice of the buffer that was fed, or of a small one of the decoder's. */
export interface ChunkSink {
  data(buffer: Buffer, start: number, end: number): void;
}

/**
 * `payload` passes on the content alone. `chunked` passes on the same body in chunked coding, made canonical: since that is
 * what arrives, less leading zeros and extensions, long runs go through as they are, chunk heads included.
 */
export type ChunkedOutput = "payload" | "chunked";

export type ChunkedStatus = "open" | "done" | "invalid";

type State = "size" | "extensions" | "size-lf" | "data" | "data-cr" | "data-lf" | "trailers";

const MAX_SIZE_DIGITS = 15;
const NO_RUN = -1;
const CRLF = Buffer.from("\r\n", "latin1");
/** The last chunk and an empty trailer section. */
export const BODY_END = "0\r\n\r\n";
const BODY_END_OCTETS = Buffer.from(BODY_END, "latin1");

/** What goes before `size` bytes of content, where a body is put into chunked coding; CRLF goes behind them. */
export function chunkHead(size: number): string {
  return `${size.toString(16)}\r\n`;
}

/**
 * Decodes one chunked body, however it is cut. It is strict where decoders have been tricked: sizes are hexadecimal
 * digits and nothing else, every line ends in CRLF, extensions are checked, counted and never passed on.
 *
 *   size ─▶ (extensions) ─▶ size-lf ─▶ data ─▶ data-cr ─▶ data-lf ─▶ size …
 *                              └─ of the last chunk ─▶ trailers ─▶ done
 */
export class ChunkedDecoder {
  status: ChunkedStatus = "open";
  /** Why the status is `invalid`. */
  detail = "";
  /** The trailer fields that may be passed on, one line each; complete once the status is `done`. */
  trailers = "";
  readonly #output: ChunkedOutput;
  readonly #limits: ChunkedLimits;
  #state: State = "size";
  #size = 0;
  #digits = 0;
  #remaining = 0;
  /** The extensions of this chunk or the trailer section, as far as they arrived. */
  #text = "";
  #extensionBytes = 0;
  /** Where the bytes begin that will be passed on together. A run may go on over the end of a buffer. */
  #run = NO_RUN;

  constructor(output: ChunkedOutput, limits: ChunkedLimits = DEFAULT_CHUNKED_LIMITS) {
    this.#output = output;
    this.#limits = limits;
  }

  /**
   * Decodes [start, end) and answers the offset behind what it took: short of `end` only when the body is done, and the
   * rest belongs to the next message, or invalid.
   */
  feed(buffer: Buffer, start: number, end: number, sink: ChunkSink): number {
    let at = start;
    if (this.#run !== NO_RUN) this.#run = start;
    while (at < end && this.status === "open") at = this.#step(buffer, at, end, sink);
    if (this.status === "open" && this.#run !== NO_RUN) this.#pass(buffer, at, sink);
    return at;
  }

  #step(buffer: Buffer, at: number, end: number, sink: ChunkSink): number {
    switch (this.#state) {
      case "size":
        return this.#readSize(buffer, at, end, sink);
      case "extensions":
        return this.#readExtensions(buffer, at, end, sink);
      case "size-lf":
        return buffer[at] === LF
          ? this.#endSizeLine(at + 1)
          : this.#refuse("a bare CR after a chunk size", at);
      case "data":
        return this.#readData(buffer, at, end, sink);
      case "data-cr":
        return this.#expect(buffer, at, CR, "data-lf");
      case "data-lf":
        return this.#expect(buffer, at, LF, "size");
      case "trailers":
        return this.#readTrailers(buffer, at, end, sink);
    }
  }

  #readSize(buffer: Buffer, start: number, end: number, sink: ChunkSink): number {
    if (this.#digits === 0 && isBodyEnd(buffer, start, end)) return this.#endAtOnce(buffer, start, sink);
    let at = start;
    for (; at < end; at++) {
      const octet = buffer[at] as number;
      const digit = HEX_VALUE[octet] as number;
      if (digit > 15) return this.#endSize(buffer, at, octet, sink);
      if (++this.#digits > MAX_SIZE_DIGITS) return this.#refuse("a chunk size of too many digits", at);
      this.#size = this.#size * 16 + digit;
      if (this.#output === "chunked") this.#passSizeFrom(buffer, at, sink);
    }
    return at;
  }

  /** Leading zeros are cut out; whether zeros are all there is (the last chunk) shows only at the end of the line. */
  #passSizeFrom(buffer: Buffer, at: number, sink: ChunkSink): void {
    if (this.#size === 0) this.#endRun(buffer, at, sink);
    else if (this.#run === NO_RUN) this.#run = at;
  }

  #endSize(buffer: Buffer, at: number, octet: number, sink: ChunkSink): number {
    if (this.#digits === 0) return this.#refuse(`${octetName(octet)} for a chunk size`, at);
    if (this.#size > Number.MAX_SAFE_INTEGER) return this.#refuse("a chunk size beyond 2^53", at);
    if (octet === CR) {
      this.#state = "size-lf";
      return at + 1;
    }
    if (octet !== SEMICOLON) return this.#refuse(`${octetName(octet)} in a chunk size`, at);
    this.#endRun(buffer, at, sink);
    this.#state = "extensions";
    return at;
  }

  #readExtensions(buffer: Buffer, start: number, end: number, sink: ChunkSink): number {
    const at = lineEnd(buffer, start, end);
    this.#extensionBytes += at - start;
    if (this.#extensionBytes > this.#limits.extensionBytes)
      return this.#refuse("too many chunk extensions", at);
    this.#text += latin1(buffer, start, at);
    if (!this.#text.endsWith("\n")) return at;
    if (!this.#text.endsWith("\r\n") || !areExtensions(this.#text.slice(0, -2))) {
      return this.#refuse("malformed chunk extensions", at);
    }
    this.#text = "";
    if (this.#size > 0 && this.#output === "chunked") sink.data(CRLF, 0, CRLF.length);
    return this.#endSizeLine(at);
  }

  #endSizeLine(at: number): number {
    this.#state = this.#size === 0 ? "trailers" : "data";
    this.#remaining = this.#size;
    this.#size = 0;
    this.#digits = 0;
    return at;
  }

  #readData(buffer: Buffer, start: number, end: number, sink: ChunkSink): number {
    if (this.#run === NO_RUN) this.#run = start;
    const at = start + Math.min(this.#remaining, end - start);
    this.#remaining -= at - start;
    if (this.#remaining > 0) return at;
    if (this.#output === "payload") this.#endRun(buffer, at, sink);
    this.#state = "data-cr";
    return at;
  }

  #expect(buffer: Buffer, at: number, octet: number, next: State): number {
    if (buffer[at] !== octet) return this.#refuse("no CRLF after the bytes of a chunk", at);
    this.#state = next;
    return at + 1;
  }

  #readTrailers(buffer: Buffer, start: number, end: number, sink: ChunkSink): number {
    const at = lineEnd(buffer, start, end);
    this.#text += latin1(buffer, start, at);
    if (this.#text.length > this.#limits.trailerBytes) return this.#refuse("too many trailers", at);
    if (this.#text !== "\r\n" && !this.#text.endsWith("\r\n\r\n")) {
      const isBareLf = this.#text.endsWith("\n") && !this.#text.endsWith("\r\n");
      return isBareLf ? this.#refuse("a bare LF in the trailers", at) : at;
    }
    const trailers = readTrailers(this.#text, this.#limits);
    if (!trailers.ok) return this.#refuse(`trailers: ${trailers.error}`, at);
    this.trailers = trailers.value;
    this.status = "done";
    if (this.#output === "chunked") {
      const ending = Buffer.from(`0\r\n${trailers.value}\r\n`, "latin1");
      sink.data(ending, 0, ending.length);
    }
    return at;
  }

  /** The usual ending, whole in one buffer: it goes out in the same run as the chunk before it. */
  #endAtOnce(buffer: Buffer, start: number, sink: ChunkSink): number {
    const at = start + BODY_END_OCTETS.length;
    if (this.#output === "chunked") {
      if (this.#run === NO_RUN) this.#run = start;
      this.#endRun(buffer, at, sink);
    }
    this.status = "done";
    return at;
  }

  #pass(buffer: Buffer, at: number, sink: ChunkSink): void {
    if (at > this.#run) sink.data(buffer, this.#run, at);
  }

  #endRun(buffer: Buffer, at: number, sink: ChunkSink): void {
    if (this.#run === NO_RUN) return;
    this.#pass(buffer, at, sink);
    this.#run = NO_RUN;
  }

  #refuse(detail: string, at: number): number {
    this.status = "invalid";
    this.detail = detail;
    return at;
  }
}

function isBodyEnd(buffer: Buffer, start: number, end: number): boolean {
  if (buffer[start] !== ZERO || end - start < BODY_END_OCTETS.length) return false;
  for (let index = 1; index < BODY_END_OCTETS.length; index++) {
    if (buffer[start + index] !== BODY_END_OCTETS[index]) return false;
  }
  return true;
}

/** The offset behind the next line feed, or `end`. */
function lineEnd(buffer: Buffer, start: number, end: number): number {
  let at = start;
  while (at < end && buffer[at] !== LF) at++;
  return at < end ? at + 1 : end;
}
