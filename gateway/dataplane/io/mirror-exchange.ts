import type { RequestHead } from "../http1/request-head.ts";
import type { Bagged } from "./bag.ts";
import type { BodyTarget } from "./http1-body.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import type { Http1Stream } from "./http1-stream.ts";
import type { Expiring } from "./ticker.ts";

const NOWHERE: BodyTarget = { write: () => true };

// Longer than a service in good order takes; a copy has no client who would wait for it.
export const MIRROR_TIMEOUT_MS = 15_000;

/** `failed`: it did not arrive, or nothing came of it. */
export type MirrorDone<T> = (mirror: T, failed: boolean) => void;

/** A copy of a request: whatever comes of it is thrown away, and nobody waits for it. */
export class MirrorExchange implements Http1Exchange, Expiring, Bagged {
  bagSlot = -1;
  readonly request: RequestHead;
  readonly requestDone = true;
  readonly passesUnchanged = true;
  readonly body = NOWHERE;
  /** Stands still: a copy is over before an allowance for what its service says meanwhile would be. */
  readonly coarseNow: number;
  readonly deadlineMs: number;
  readonly #stream: Http1Stream;
  readonly #onDone: MirrorDone<MirrorExchange>;

  constructor(request: RequestHead, stream: Http1Stream, nowMs: number, onDone: MirrorDone<MirrorExchange>) {
    this.request = request;
    this.coarseNow = nowMs;
    this.deadlineMs = nowMs + MIRROR_TIMEOUT_MS;
    this.#stream = stream;
    this.#onDone = onDone;
  }

  send(head: string, body: readonly Buffer[]): void {
    this.#stream.begin(this, head);
    for (const chunk of body) this.#stream.write(chunk, 0, chunk.length);
  }

  expire(): void {
    this.#stream.abort();
    this.#onDone(this, true);
  }

  responseDone(): void {
    this.#onDone(this, false);
  }

  upstreamFailed(): void {
    this.#onDone(this, true);
  }

  declines(): boolean {
    return false;
  }

  received(): void {}
  writeResponse(): void {}
  writeResponseHead(): void {}
  writeInterim(): void {}
  write(): void {}
  awaitDrain(): void {}
  resumeRequest(): void {}
  upgraded(): void {}
  finishUpgraded(): void {}
}
