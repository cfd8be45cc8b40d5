import { Bag } from "./bag.ts";
import type { DestinationGuard } from "./destination-guard.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import type { Entry } from "./entry.ts";
import { Http1Stream } from "./http1-stream.ts";
import { traceFields } from "./trace-fields.ts";

// Below the 5 s after which Node's own HTTP server drops an idle connection: whoever closes first must not be the workload.
const IDLE_MS = 4_000;
const MAX_IDLE = 1_024;

/** Idle streams of one entry to one target, most recently used first, so that those not needed grow old and end. */
export class StreamPool {
  readonly target: EntryForward;
  readonly #entry: Entry;
  readonly #idle: Http1Stream[] = [];
  /** Idle and in use. */
  readonly #open = new Bag<Http1Stream>();
  readonly #destination: DestinationGuard;
  readonly #unsubscribe: () => void;
  readonly #withdraw: () => void;

  constructor(entry: Entry, target: EntryForward) {
    this.#entry = entry;
    this.target = target;
    this.#destination = entry.guard.destination(target);
    this.#unsubscribe = entry.onDecision(() => {
      if (entry.recheck(target) !== undefined) this.#retireAll();
    });
    this.#withdraw = this.#destination.offerIdle(() => this.#closeIdle());
  }

  get isEmpty(): boolean {
    return this.#open.size === 0;
  }

  take(): Http1Stream | undefined {
    for (;;) {
      const stream = this.#idle.pop();
      if (stream === undefined) return undefined;
      if (!stream.usable) continue;
      const isOld = stream.generation !== this.#destination.generation;
      if (!isOld && !this.#entry.isEjected(this.target, stream.endpoint)) return stream;
      stream.drain();
    }
  }

  /**
   * A fresh stream through a ready tunnel. With a trace it serves one request only, so that what the hops further on tell of
   * the stream, they tell of that request. `avoid`: endpoints where the request has failed.
   */
  open(trace?: TraceContext, avoid?: string): Http1Stream | undefined {
    let opened: Http1Stream | undefined;
    const options = { extra: traceFields(trace), avoid };
    const stream = this.#entry.open(this.target, () => opened?.drain(), options);
    if (stream === undefined) return undefined;
    opened = new Http1Stream(stream, this, trace === undefined);
    opened.generation = this.#destination.generation;
    this.#open.add(opened);
    return opened;
  }

  put(stream: Http1Stream): void {
    stream.idleSinceMs = this.#entry.env.now();
    const isOld = stream.generation !== this.#destination.generation;
    if (isOld || this.#idle.length >= MAX_IDLE) return stream.drain();
    this.#idle.push(stream);
    this.#entry.connectionFree(this.target);
  }

  /** The stream serves no request any more. */
  remove(stream: Http1Stream): void {
    this.#open.delete(stream);
    const index = this.#idle.indexOf(stream);
    if (index !== -1) this.#idle.splice(index, 1);
  }

  /** Ends what has been idle too long; called about once a second. */
  sweep(now: number): void {
    while (this.#idle[0] !== undefined && now - this.#idle[0].idleSinceMs > IDLE_MS) this.#idle[0].drain();
  }

  #closeIdle(): boolean {
    const oldest = this.#idle[0];
    oldest?.drain();
    return oldest !== undefined;
  }

  close(): void {
    this.#unsubscribe();
    this.#withdraw();
    this.#retireAll();
  }

  #retireAll(): void {
    while (this.#idle[0] !== undefined) this.#idle[0].drain();
  }
}
