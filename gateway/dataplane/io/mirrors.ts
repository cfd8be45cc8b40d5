import type { EntryForward } from "../routing/decide.ts";
import type { RequestHead } from "../http1/request-head.ts";
import { Bag, type Bagged } from "./bag.ts";
import type { Entry } from "./entry.ts";
import { Http2Mirror } from "./http2-mirror.ts";
import type { Http2Pool } from "./http2-pool.ts";
import { MirrorExchange } from "./mirror-exchange.ts";
import type { StreamPool } from "./stream-pool.ts";
import { type Expiring, expireDue } from "./ticker.ts";

/** Copies under way for one listener: beyond it a slow mirror would hold memory and streams without end. */
const MAX_MIRRORS = 256;

/** Sends copies of requests, and forgets them. */
export class Mirrors {
  readonly #entry: Entry;
  readonly #poolOf: (target: EntryForward) => StreamPool;
  readonly #open = new Bag<Expiring & Bagged>();

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

  sendHttp2(pool: Http2Pool, fields: readonly string[], body: readonly Buffer[], nowMs: number): void {
    const { counters } = this.#entry;
    const upstream = this.#open.size >= MAX_MIRRORS ? undefined : pool.pick(false);
    const mirror = new Http2Mirror(nowMs, (done) => this.#open.delete(done));
    if (upstream === undefined || !mirror.send(upstream, fields, body))
      return void (counters.mirrorsBusy.value += 1);
    this.#open.add(mirror);
    counters.mirrors.value += 1;
  }

  expire(nowMs: number): void {
    expireDue(this.#open.all(), nowMs);
  }

  close(): void {
    for (const mirror of this.#open.all()) mirror.expire();
  }
}
