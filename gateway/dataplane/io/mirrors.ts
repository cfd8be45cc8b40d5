import type { EntryForward } from "../routing/decide.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { Entry } from "./entry.ts";
import { MirrorExchange } from "./mirror-exchange.ts";
import type { StreamPool } from "./stream-pool.ts";
import { expireDue } from "./ticker.ts";

/** Copies under way for one listener: beyond it a slow mirror would hold memory and streams without end. */
const MAX_MIRRORS = 256;

/** Sends copies of requests, and forgets them. */
export class Mirrors {
  readonly #entry: Entry;
  readonly #poolOf: (target: EntryForward) => StreamPool;
  readonly #open = new Set<MirrorExchange>();

  constructor(entry: Entry, poolOf: (target: EntryForward) => StreamPool) {
    this.#entry = entry;
    this.#poolOf = poolOf;
  }

  send(
    target: EntryForward,
    request: RequestHead,
    head: string,
    body: readonly Buffer[],
    nowMs: number,
  ): void {
    const { counters } = this.#entry;
    if (this.#open.size >= MAX_MIRRORS) return void (counters.mirrorsBusy.value += 1);
    const pool = this.#poolOf(target);
    const stream = pool.take() ?? pool.open();
    if (stream === undefined) return void (counters.mirrorsBusy.value += 1);
    const mirror = new MirrorExchange(request, stream, nowMs, (done) => this.#open.delete(done));
    this.#open.add(mirror);
    counters.mirrors.value += 1;
    mirror.send(head, body);
  }

  expire(nowMs: number): void {
    expireDue(this.#open, nowMs);
  }

  close(): void {
    for (const mirror of [...this.#open]) mirror.expire();
  }
}
