import type { FailedTries } from "../balance/failed-tries.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import type { DestinationGuard } from "./destination-guard.ts";
import type { Entry } from "./entry.ts";
import { Http2Upstream, type UpstreamOwner } from "./http2-upstream.ts";
import { traceFields } from "./trace-fields.ts";

// The far gateway picks an endpoint for each session, so one session for everything would be one endpoint for everything. So
// there is one for each endpoint, up to a few, and from so many requests at a time on for each of the others.
const SPREAD_SESSIONS = 8;
const FULL_SESSION_STREAMS = 16;
// A further one for the same endpoints divides what could leave in one write: it has to carry more than a few requests. Below the
// 100 streams that RFC 9113 §6.5.2 wants every server to take.
const CROWDED_SESSION_STREAMS = 96;
const MAX_SESSIONS = 16;
// Where the service takes so few requests at a time on a connection (RFC 9113 §5.1.2) that all of those are full: there is nobody
// here to wait, as a client of its own would.
const MAX_FULL_SESSIONS = 256;
const IDLE_MS = 60_000;
// A session this old makes room for one that may go to an endpoint that was not there then.
const MAX_AGE_MS = 300_000;

const NOBODY: UpstreamOwner = { onGone() {}, onLimit() {}, onEndpoint() {} };

/** Sessions with one target, for the requests of all connections of one caller. */
export class Http2Pool {
  readonly target: EntryForward;
  readonly #entry: Entry;
  readonly #destination: DestinationGuard;
  readonly #sessions: Http2Upstream[] = [];
  readonly #unsubscribe: () => void;
  readonly #withdraw: () => void;
  /** So many endpoints should have a session, as of `#generation` of the destination. */
  #wanted = 1;
  #generation = -1;
  /** What the service takes at a time on a connection, as far as it has said. */
  #likelyStreams = Number.POSITIVE_INFINITY;
  /** Some have none yet. */
  #isSearching = false;
  /** Opened for an endpoint that has none yet, and not for want of room: with the endpoints that it was to avoid. */
  readonly #scouts = new WeakMap<Http2Upstream, ReadonlySet<string>>();

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
    return this.#sessions.length === 0;
  }

  /**
   * A session for one more request; `undefined` when there is none and no tunnel takes one. `fresh`: none that was tried; `failed`:
   * where tries of the request have failed, which is good enough when nothing else can be had.
   */
  pick(fresh: boolean, failed?: FailedTries): Http2Upstream | undefined {
    if (this.#generation !== this.#destination.generation) this.#countEndpoints();
    const best = fresh ? undefined : this.#leastLoaded(failed);
    const isEnough = best !== undefined && best.streams < this.#fullStreams;
    if (isEnough && (!this.#isSearching || failed !== undefined)) return best;
    if (this.#sessions.length < MAX_SESSIONS)
      return this.#open(failed?.avoid(this.target.destination), isEnough) ?? best;
    const tried = failed === undefined ? undefined : this.#leastLoaded();
    return best ?? tried ?? (this.isFull ? undefined : this.#open(undefined, false));
  }

  /** There is no further session for another request. */
  get isFull(): boolean {
    return this.#sessions.length >= MAX_FULL_SESSIONS;
  }

  /** Requests at a time from which on another session is worth it. */
  get #fullStreams(): number {
    const { endpoints } = this.#destination;
    const reachesAll = endpoints > 0 && this.#sessions.length >= endpoints;
    return reachesAll ? CROWDED_SESSION_STREAMS : FULL_SESSION_STREAMS;
  }

  /**
   * A session for one traced request alone, so that what the hops further on tell of its stream, they tell of that request. It is
   * to be retired as soon as it has that.
   */
  openTraced(trace: TraceContext, failed?: FailedTries): Http2Upstream | undefined {
    let opened: Http2Upstream | undefined;
    const options = { extra: traceFields(trace), avoid: failed?.avoid(this.target.destination) };
    const stream = this.#entry.open(this.target, () => opened?.retire(), options);
    if (stream === undefined) return undefined;
    opened = new Http2Upstream(stream, this.#entry.env.now(), this.#likelyStreams, NOBODY);
    return opened;
  }

  /** About once a second. */
  sweep(now: number): void {
    for (const session of [...this.#sessions]) {
      session.tick(now);
      if (now - session.idleSinceMs > IDLE_MS || now - session.openedMs > MAX_AGE_MS) session.retire();
    }
  }

  #closeIdle(): boolean {
    const idle = this.#sessions.find(({ streams }) => streams === 0);
    idle?.retire();
    return idle !== undefined;
  }

  close(): void {
    this.#unsubscribe();
    this.#withdraw();
    this.#retireAll();
  }

  /** Of equals each in turn, so that requests one at a time find every endpoint as well. */
  #leastLoaded(failed?: FailedTries): Http2Upstream | undefined {
    const { length } = this.#sessions;
    const first = length < 2 ? 0 : Math.floor(this.#entry.env.random() * length);
    let best: Http2Upstream | undefined;
    for (let turn = 0; turn < length; turn++) {
      const session = this.#sessions[(first + turn) % length];
      if (session?.usable !== true || (best !== undefined && session.streams >= best.streams)) continue;
      if (failed?.mayHaveFailedAt(this.target.destination, session.endpoint) === true) continue;
      if (!this.#entry.isEjected(this.target, session.endpoint)) best = session;
    }
    return best;
  }

  /** A target that is bound to one endpoint has no other to be spread over. */
  #countEndpoints(): void {
    this.#generation = this.#destination.generation;
    const { ready } = this.#destination;
    this.#wanted = this.target.endpoint === undefined ? Math.min(SPREAD_SESSIONS, ready) : 1;
    this.#look();
  }

  /** Sessions that lead nobody knows where yet may lead to any. */
  #look(): void {
    const names = this.#endpoints();
    const unknown = this.#sessions.filter(({ endpoint }) => endpoint === undefined).length;
    this.#isSearching = names.size + unknown < this.#wanted;
  }

  #endpoints(): Set<string> {
    return new Set(this.#sessions.flatMap(({ endpoint }) => endpoint ?? []));
  }

  #open(failed: string | undefined, isScout: boolean): Http2Upstream | undefined {
    const known = this.#endpoints();
    // Who avoids all of them avoids none.
    const avoid = failed ?? (known.size === 0 ? undefined : [...known].join(","));
    let opened: Http2Upstream | undefined;
    const stream = this.#entry.open(this.target, () => opened?.retire(), { avoid });
    if (stream === undefined) return undefined;
    opened = new Http2Upstream(stream, this.#entry.env.now(), this.#likelyStreams, {
      onGone: (gone) => this.#remove(gone),
      onLimit: (streams) => (this.#likelyStreams = streams),
      onEndpoint: (session) => this.#onEndpoint(session),
    });
    if (isScout) this.#scouts.set(opened, known);
    this.#sessions.push(opened);
    this.#look();
    return opened;
  }

  /** A scout that came where another session leads has nothing to do here. */
  #onEndpoint(session: Http2Upstream): void {
    const { endpoint } = session;
    const avoided = this.#scouts.get(session);
    const isNew = this.#sessions.every((one) => one === session || one.endpoint !== endpoint);
    if (avoided !== undefined && endpoint !== undefined && !isNew) {
      // The gateway was asked for any other, and has none (of this version).
      if (avoided.has(endpoint)) this.#wanted = this.#endpoints().size;
      session.retire();
    }
    this.#look();
  }

  #remove(session: Http2Upstream): void {
    const index = this.#sessions.indexOf(session);
    if (index === -1) return;
    this.#sessions.splice(index, 1);
    this.#look();
  }

  #retireAll(): void {
    for (const session of [...this.#sessions]) session.retire();
  }
}
