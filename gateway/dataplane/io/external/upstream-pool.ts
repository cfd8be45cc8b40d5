import type { Problem } from "../../../../federation/model/problem.ts";
import type { Result } from "../../../../federation/model/result.ts";
import type { Http1Stream, StreamHome } from "../http1-stream.ts";
import type { OpenedStream } from "../tunnel-stream.ts";

// Below the 5 s after which Node's own HTTP server drops an idle connection; most others wait longer.
const IDLE_MS = 4_000;
const MAX_IDLE = 256;
const MAX_POOLS = 4_096;

export type Dial = (done: (result: Result<OpenedStream, Problem>) => void) => void;

/** Idle connections to one destination, as one caller, with one credential: nothing is shared across any of these. */
export class UpstreamPool implements StreamHome {
  readonly dial: Dial;
  readonly #now: () => number;
  readonly #idle: Http1Stream[] = [];
  #retired = false;

  constructor(dial: Dial, now: () => number) {
    this.dial = dial;
    this.#now = now;
  }

  get size(): number {
    return this.#idle.length;
  }

  take(): Http1Stream | undefined {
    for (;;) {
      const stream = this.#idle.pop();
      if (stream === undefined || stream.usable) return stream;
    }
  }

  put(stream: Http1Stream): void {
    stream.idleSinceMs = this.#now();
    if (this.#retired || this.#idle.length >= MAX_IDLE) stream.drain();
    else this.#idle.push(stream);
  }

  remove(stream: Http1Stream): void {
    const index = this.#idle.indexOf(stream);
    if (index !== -1) this.#idle.splice(index, 1);
  }

  /** Ends what has been idle too long; called about once a second. */
  sweep(now: number): void {
    while (this.#idle[0] !== undefined && now - this.#idle[0].idleSinceMs > IDLE_MS) this.#idle[0].drain();
  }

  /** No connection is reused any more; those under way finish. */
  retire(): void {
    this.#retired = true;
    while (this.#idle[0] !== undefined) this.#idle[0].drain();
  }
}

/** All pools of one gateway. */
export class UpstreamPools {
  readonly #now: () => number;
  readonly #pools = new Map<string, UpstreamPool>();

  constructor(now: () => number) {
    this.#now = now;
  }

  get(key: string, dial: Dial): UpstreamPool {
    const known = this.#pools.get(key);
    if (known !== undefined) return known;
    if (this.#pools.size >= MAX_POOLS) this.retireAll();
    const made = new UpstreamPool(dial, this.#now);
    this.#pools.set(key, made);
    return made;
  }

  sweep(now: number): void {
    for (const pool of this.#pools.values()) pool.sweep(now);
  }

  /** After a change of rules or secrets: what was opened by the old ones is not used again. */
  retireAll(): void {
    for (const pool of this.#pools.values()) pool.retire();
    this.#pools.clear();
  }
}
