import { ErrorCode } from "../http2/error-code.ts";
import type { Stream, StreamHandler } from "../http2/stream.ts";
import type { Bagged } from "./bag.ts";
import type { Http2Upstream } from "./http2-upstream.ts";
import { MIRROR_TIMEOUT_MS, type MirrorDone } from "./mirror-exchange.ts";
import type { Expiring } from "./ticker.ts";

/** A copy of an HTTP/2 request under way; its answer is read and forgotten. */
export class Http2Mirror implements StreamHandler, Expiring, Bagged {
  bagSlot = -1;
  readonly deadlineMs: number;
  readonly #onDone: MirrorDone<Http2Mirror>;
  #isAnswered = false;
  #stream: Stream | undefined;

  constructor(nowMs: number, onDone: MirrorDone<Http2Mirror>) {
    this.deadlineMs = nowMs + MIRROR_TIMEOUT_MS;
    this.#onDone = onDone;
  }

  /** Whether it is on its way. */
  send(upstream: Http2Upstream, fields: readonly string[], body: readonly Buffer[]): boolean {
    this.#stream = upstream.request(fields, body.length === 0, this);
    for (const chunk of body) this.#stream?.write(chunk, 0, chunk.length);
    this.#stream?.end();
    return this.#stream !== undefined;
  }

  expire(): void {
    this.#stream?.reset(ErrorCode.cancel);
  }

  onHeaders(): void {
    this.#isAnswered = true;
  }

  onTrailers(): void {}
  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}
  onAltsvc(): void {}

  onClosed(): void {
    this.#onDone(this, !this.#isAnswered);
  }
}
