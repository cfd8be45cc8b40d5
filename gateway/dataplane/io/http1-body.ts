import { ChunkedDecoder, type ChunkSink } from "../http1/chunked.ts";
import { type BodyFraming, NO_BODY } from "../http1/framing.ts";

/** Answer of `forward` for a body that breaks its own framing. */
export const MALFORMED = -1;

/** What a body is written to; the bytes are on loan for the time of the call. */
export interface BodyTarget {
  write(bytes: Buffer, start: number, end: number): boolean;
}

/** Passes one message's body on and finds its end; the bytes themselves are not looked at, except chunk framing. */
export class BodyForwarder implements ChunkSink {
  done = true;
  #framing: BodyFraming = NO_BODY;
  #remaining = 0;
  #chunked: ChunkedDecoder | undefined;
  #target: BodyTarget | undefined;

  /** `keepChunks`: whether a chunked body goes on in chunks (HTTP/1.1) or as its bare content (to an HTTP/1.0 client). */
  reset(framing: BodyFraming, keepChunks: boolean): void {
    this.#framing = framing;
    this.#remaining = framing.kind === "length" ? framing.length : 0;
    this.#chunked =
      framing.kind === "chunked" ? new ChunkedDecoder(keepChunks ? "chunked" : "payload") : undefined;
    this.done = framing.kind === "none";
  }

  get endsWithConnection(): boolean {
    return this.#framing.kind === "until-close";
  }

  /** Of a chunked body that is done: the trailer fields that may be passed on, one line each. */
  get trailers(): string {
    return this.#chunked?.trailers ?? "";
  }

  /** Writes what belongs to the body of `[at, end)` to `target`; returns where the body's bytes end, or MALFORMED. */
  forward(buffer: Buffer, at: number, end: number, target: BodyTarget): number {
    if (this.done || at >= end) return at;
    switch (this.#framing.kind) {
      case "none":
        return at;
      case "until-close":
        target.write(buffer, at, end);
        return end;
      case "length":
        return this.#forwardLength(buffer, at, end, target);
      case "chunked":
        return this.#forwardChunked(buffer, at, end, target);
    }
  }

  data(buffer: Buffer, start: number, end: number): void {
    this.#target?.write(buffer, start, end);
  }

  #forwardLength(buffer: Buffer, at: number, end: number, target: BodyTarget): number {
    const next = Math.min(end, at + this.#remaining);
    target.write(buffer, at, next);
    this.#remaining -= next - at;
    this.done = this.#remaining === 0;
    return next;
  }

  #forwardChunked(buffer: Buffer, at: number, end: number, target: BodyTarget): number {
    const decoder = this.#chunked;
    if (decoder === undefined) return MALFORMED;
    this.#target = target;
    const next = decoder.feed(buffer, at, end, this);
    this.#target = undefined;
    if (decoder.status === "invalid") return MALFORMED;
    this.done = decoder.status === "done";
    return next;
  }
}
