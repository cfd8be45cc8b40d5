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
/** After so many copies in a row that failed, none is sent for a while: each would cost more than one that arrives. */
const MAX_FAILED = 8;
const PAUSE_MS = 1_000;

/** A target whose last copies failed. */
interface Failing {
  count: number;
  pausedUntilMs: number;
}

/** Sends copies of requests, and forgets them. */
export class Mirrors {
  readonly #entry: Entry;
  readonly #poolOf: (target: EntryForward) => StreamPool;
  readonly #open = new Bag<Expiring & Bagged>();
  readonly #failing = new Map<string, Failing>();

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
    if (this.#isPaused(target.id, nowMs)) return void (counters.mirrorsPaused.value += 1);
    if (this.#open.size >= MAX_MIRRORS) return void (counters.mirrorsBusy.value += 1);
    const pool = this.#poolOf(target);
    const stream = pool.take() ?? pool.open();
    if (stream === undefined) return void (counters.mirrorsBusy.value += 1);
    const mirror = new MirrorExchange(request, stream, nowMs, (done, failed) => {
      this.#open.delete(done);
      this.#ended(target.id, failed, nowMs);
    });
    this.#open.add(mirror);
    counters.mirrors.value += 1;
    mirror.send(head, body);
  }

  sendHttp2(pool: Http2Pool, fields: readonly string[], body: readonly Buffer[], nowMs: number): void {
    const { counters } = this.#entry;
    const { id } = pool.target;
    if (this.#isPaused(id, nowMs)) return void (counters.mirrorsPaused.value += 1);
    const upstream = this.#open.size >= MAX_MIRRORS ? undefined : pool.pick(false);
    const mirror = new Http2Mirror(nowMs, (done, failed) => {
      this.#open.delete(done);
      this.#ended(id, failed, nowMs);
    });
    if (upstream === undefined || !mirror.send(upstream, fields, body))
      return void (counters.mirrorsBusy.value += 1);
    this.#open.add(mirror);
    counters.mirrors.value += 1;
  }

  expire(nowMs: number): void {
    expireDue(this.#open.all(), nowMs);
  }

  #isPaused(id: string, nowMs: number): boolean {
    return nowMs < (this.#failing.get(id)?.pausedUntilMs ?? 0);
  }

  #ended(id: string, failed: boolean, beganMs: number): void {
    if (!failed) return void this.#failing.delete(id);
    const failing = this.#failing.get(id) ?? { count: 0, pausedUntilMs: 0 };
    failing.count += 1;
    if (failing.count >= MAX_FAILED) failing.pausedUntilMs = beganMs + PAUSE_MS;
    this.#failing.set(id, failing);
  }

  close(): void {
    for (const mirror of this.#open.all()) mirror.expire();
  }
}
