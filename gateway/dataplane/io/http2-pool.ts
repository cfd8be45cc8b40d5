import type { EntryForward } from "../routing/decide.ts";
import type { DestinationGuard } from "./destination-guard.ts";
import type { Entry } from "./entry.ts";
import { Http2Upstream } from "./http2-upstream.ts";

// The far gateway picks an endpoint for each session, so one session for everything would be one endpoint for everything. From
// so many requests at a time on there is another session, until there are as many as the service has endpoints.
const FULL_SESSION_STREAMS = 16;
// A further one for the same endpoints divides what could leave in one write: it has to carry more than a few requests. Below the
// 100 streams that RFC 9113 §6.5.2 wants every server to take.
const CROWDED_SESSION_STREAMS = 96;
const MAX_SESSIONS = 16;
const IDLE_MS = 60_000;
// A session this old makes room for one that may go to an endpoint that was not there then.
const MAX_AGE_MS = 300_000;

const NO_SESSIONS: readonly Http2Upstream[] = [];

/** Sessions with one target, for the requests of all connections of one caller. */
export class Http2Pool {
  readonly target: EntryForward;
  readonly #entry: Entry;
  readonly #destination: DestinationGuard;
  readonly #sessions: Http2Upstream[] = [];
  readonly #unsubscribe: () => void;

  constructor(entry: Entry, target: EntryForward) {
    this.#entry = entry;
    this.target = target;
    this.#destination = entry.guard.destination(target);
    this.#unsubscribe = entry.onDecision(() => {
      if (entry.recheck(target) !== undefined) this.#retireAll();
    });
  }

  get isEmpty(): boolean {
    return this.#sessions.length === 0;
  }

  /** A session for one more request; `undefined` when there is none and no tunnel takes one. `fresh`: none that was tried. */
  pick(fresh: boolean): Http2Upstream | undefined {
    let best: Http2Upstream | undefined;
    for (const session of fresh ? NO_SESSIONS : this.#sessions) {
      if (!session.usable || (best !== undefined && session.streams >= best.streams)) continue;
      if (!this.#entry.isEjected(this.target, session.endpoint)) best = session;
    }
    const isEnough = best !== undefined && best.streams < this.#fullStreams;
    if (isEnough || this.#sessions.length >= MAX_SESSIONS) return best;
    return this.#open() ?? best;
  }

  /** Requests at a time from which on another session is worth it. */
  get #fullStreams(): number {
    const { endpoints } = this.#destination;
    const reachesAll = endpoints > 0 && this.#sessions.length >= endpoints;
    return reachesAll ? CROWDED_SESSION_STREAMS : FULL_SESSION_STREAMS;
  }

  /** About once a second. */
  sweep(now: number): void {
    for (const session of [...this.#sessions]) {
      session.tick(now);
      if (now - session.idleSinceMs > IDLE_MS || now - session.openedMs > MAX_AGE_MS) session.retire();
    }
  }

  close(): void {
    this.#unsubscribe();
    this.#retireAll();
  }

  #open(): Http2Upstream | undefined {
    let opened: Http2Upstream | undefined;
    const stream = this.#entry.open(this.target, () => opened?.retire());
    if (stream === undefined) return undefined;
    opened = new Http2Upstream(stream, this.#entry.env.now(), (gone) => this.#remove(gone));
    this.#sessions.push(opened);
    return opened;
  }

  #remove(session: Http2Upstream): void {
    const index = this.#sessions.indexOf(session);
    if (index !== -1) this.#sessions.splice(index, 1);
  }

  #retireAll(): void {
    for (const session of [...this.#sessions]) session.retire();
  }
}
