import { err, ok, type Result } from "../../../../federation/model/result.ts";
import type { Problem } from "../../../../federation/model/problem.ts";
import { Http1Stream, type StreamHome } from "../http1-stream.ts";
import { Http1Way } from "./http1-way.ts";
import { Http2Upstream } from "./http2-upstream.ts";
import type { ExternalStream } from "./external-stream.ts";
import type { OpenedStream } from "../tunnel-stream.ts";
import type { Acquired, ExchangePool, UpstreamExchange } from "../judged/upstream-exchange.ts";

// Below the 5 s after which Node's own HTTP server drops an idle connection; most others wait longer.
const IDLE_MS = 4_000;
const IDLE_HTTP2_MS = 30_000;
const MAX_IDLE = 256;
const MAX_POOLS = 4_096;

/** `http1`: HTTP/2 will not do, because the request asks for an upgrade. */
export type Dial = (
  http1: boolean,
  done: (result: Result<ExternalStream | OpenedStream, Problem>) => void,
) => void;

/** Connections to one destination, as one caller, with one credential: nothing is shared across any of these. */
export class UpstreamPool implements StreamHome, ExchangePool {
  readonly #dial: Dial;
  readonly #now: () => number;
  readonly #idle: Http1Stream[] = [];
  readonly #sessions: Http2Upstream[] = [];
  /** Requests that wait to hear which protocol the host speaks. */
  #waiting: Acquired[] | undefined;
  #speaksHttp1 = false;
  #retired = false;

  constructor(dial: Dial, now: () => number) {
    this.#dial = dial;
    this.#now = now;
  }

  get isRetired(): boolean {
    return this.#retired;
  }

  take(http1: boolean): UpstreamExchange | undefined {
    if (!http1) {
      // By index: an iterator for every request would be garbage.
      for (let index = 0; index < this.#sessions.length; index++) {
        const opened = this.#sessions[index]?.open();
        if (opened !== undefined) return opened;
      }
    }
    for (;;) {
      const stream = this.#idle.pop();
      if (stream === undefined) return undefined;
      if (stream.usable) return new Http1Way(stream);
    }
  }

  /** A new connection. While nobody knows what the host speaks, one is opened for all who ask. */
  acquire(http1: boolean, done: Acquired): void {
    if (http1 || this.#speaksHttp1) return this.#dial(http1, (result) => done(this.#opened(result)));
    if (this.#waiting !== undefined) return void this.#waiting.push(done);
    const waiting: Acquired[] = [];
    this.#waiting = waiting;
    this.#dial(false, (result) => {
      this.#waiting = undefined;
      done(this.#opened(result));
      for (const next of waiting) {
        const opened = result.ok ? this.take(false) : undefined;
        if (opened !== undefined) next(ok(opened));
        else if (!result.ok) next(result);
        else this.acquire(false, next);
      }
    });
  }

  #opened(result: Parameters<Parameters<Dial>[1]>[0]): Result<UpstreamExchange, Problem> {
    if (!result.ok) return result;
    const stream = result.value;
    if (!("alpnProtocol" in stream) || stream.alpnProtocol !== "h2") {
      this.#speaksHttp1 = true;
      return ok(new Http1Way(new Http1Stream(stream, this, true)));
    }
    const onGone = (): void => this.#forget(session);
    const session: Http2Upstream = new Http2Upstream(stream as ExternalStream, onGone, true);
    session.idleSinceMs = this.#now();
    if (!this.#retired) this.#sessions.push(session);
    const opened = session.open();
    if (this.#retired) session.drain();
    return opened === undefined
      ? err({ name: "external_handshake", detail: "the host takes no requests" })
      : ok(opened);
  }

  #forget(session: Http2Upstream): void {
    const index = this.#sessions.indexOf(session);
    if (index !== -1) this.#sessions.splice(index, 1);
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
    for (const session of [...this.#sessions]) {
      if (session.streams > 0) session.idleSinceMs = now;
      else if (now - session.idleSinceMs > IDLE_HTTP2_MS) session.drain();
    }
  }

  /** No connection is reused any more; those under way finish. */
  retire(): void {
    this.#retired = true;
    while (this.#idle[0] !== undefined) this.#idle[0].drain();
    for (const session of [...this.#sessions]) session.drain();
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
