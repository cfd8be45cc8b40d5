import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { Watch } from "../lifecycle/watch.ts";
import { authorizeRequest } from "../policy/authorize.ts";
import { detectAtLast, detectProtocol, type Spoken } from "../routing/detect-protocol.ts";
import { pathOf } from "../routing/request-view.ts";
import type { RouteTables } from "../routing/tables.ts";
import { Bag, type Bagged } from "./bag.ts";
import { PATIENT_READER_MS } from "./client-patience.ts";
import type { Metrics } from "./counters.ts";
import { type EndpointWay, Http1Endpoint, Http2Endpoint } from "./endpoint-way.ts";
import type { EventLog } from "./event-log.ts";
import { JudgedHttp1, type JudgedHttp1Host } from "./judged/judged-http1.ts";
import type { RequestRoute } from "./judged/judging-host.ts";
import { JudgedHttp2 } from "./judged/judged-http2.ts";
import { abort, type RelayCounters, type RelayEnd, relay } from "./relay.ts";
import { TICK_MS, expireDue } from "./ticker.ts";
import { DETECT_WITHIN_MS } from "./undecided-connection.ts";
import type { Socket } from "node:net";

/** How a permitted stream and its endpoint are put together. */
export type Join = (asking: RelayEnd, endpoint: Socket, counters: RelayCounters) => void;

/** Who calls what. */
export interface Arrival {
  readonly service: ServiceName;
  readonly port: number;
  readonly caller: SpiffeId;
  /** Of what an observing policy would have kept out. */
  readonly labels: { readonly [name: string]: string };
}

export interface ArrivalsOptions {
  readonly tables: Watch<RouteTables | undefined>;
  readonly metrics: Metrics;
  readonly events: EventLog;
  readonly now: () => number;
}

// As long as the caller's side waits, and a little more: it is the one to say so.
const REQUEST_MS = 310_000;
/** Nothing was asked for so long. */
const SILENT_MS = 60_000;

/**
 * Calls whose requests AuthorizationPolicies have a say in: they are read here, one hop before the workload, since what the
 * caller's side would enforce proves nothing. All other calls are relayed without a look.
 */
export class Arrivals {
  readonly options: ArrivalsOptions;
  readonly #watched = new Bag<WatchedArrival>();
  coarseNow: number;
  #ticker: NodeJS.Timeout | undefined;

  constructor(options: ArrivalsOptions) {
    this.options = options;
    this.coarseNow = options.now();
    options.tables.subscribe(() => {
      for (const arrival of this.#watched.all()) arrival.recheck();
    });
  }

  /** `observe`: bytes that are no HTTP pass all the same. */
  join(arrival: Arrival, mode: "observe" | "enforce"): Join {
    return (asking, endpoint, counters) => {
      const watched = new WatchedArrival(this, arrival, asking, endpoint, counters);
      this.#watched.add(watched);
      if (this.#ticker === undefined) {
        this.coarseNow = this.options.now();
        this.#ticker = setInterval(() => this.#tick(), TICK_MS).unref();
      }
      watched.start(mode);
    };
  }

  ended(arrival: WatchedArrival): void {
    this.#watched.delete(arrival);
    if (this.#watched.size > 0) return;
    clearInterval(this.#ticker);
    this.#ticker = undefined;
  }

  #tick(): void {
    this.coarseNow = this.options.now();
    expireDue(this.#watched.all(), this.coarseNow);
    for (const arrival of this.#watched.all()) arrival.tick(this.coarseNow);
  }
}

/** One such call: a stream of many requests, all of one caller. */
class WatchedArrival implements JudgedHttp1Host, Bagged {
  bagSlot = -1;
  readonly forms = "origin";
  readonly stalledReaderMs = PATIENT_READER_MS;
  readonly draining = false;
  readonly passesLoss = true;
  readonly counters: RelayCounters;
  readonly #arrivals: Arrivals;
  readonly #arrival: Arrival;
  readonly #asking: RelayEnd;
  readonly #endpoint: Socket;
  #http1: JudgedHttp1 | undefined;
  #http2: JudgedHttp2 | undefined;
  #way: EndpointWay | undefined;
  #early: Buffer | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isDecided = false;

  constructor(
    arrivals: Arrivals,
    arrival: Arrival,
    asking: RelayEnd,
    endpoint: Socket,
    counters: RelayCounters,
  ) {
    this.#arrivals = arrivals;
    this.#arrival = arrival;
    this.#asking = asking;
    this.#endpoint = endpoint;
    this.counters = counters;
  }

  start(mode: "observe" | "enforce"): void {
    this.#endpoint.pause();
    this.#asking.on("data", this.#onFirst);
    this.#asking.once("end", () => this.#decide(detectAtLast(this.#early ?? NO_BYTES)));
    this.#asking.once("close", () => {
      this.#isDecided = true;
      clearTimeout(this.#timer);
      this.#arrivals.ended(this);
      if (this.#way === undefined) abort(this.#endpoint);
      else this.#way.close();
    });
    this.#endpoint.once("close", () => {
      if (!this.#isDecided) abort(this.#asking);
    });
    const waitMs = mode === "observe" ? DETECT_WITHIN_MS : SILENT_MS;
    this.#timer = setTimeout(() => this.#decide(detectAtLast(this.#early ?? NO_BYTES)), waitMs);
  }

  get coarseNow(): number {
    return this.#arrivals.coarseNow;
  }

  get deadlineMs(): number {
    return this.#http1?.deadlineMs ?? 0;
  }

  expire(): void {
    this.#http1?.expire();
  }

  tick(now: number): void {
    this.#http2?.tick(now);
  }

  /** The rules have changed: requests under way are judged again. */
  recheck(): void {
    this.#http1?.recheck((head) => this.#refusalOf(head));
    this.#http2?.recheck((head) => this.#refusalOf(head));
  }

  // ---- what it speaks -----------------------------------------------------------------------------------------------

  readonly #onFirst = (chunk: Buffer): void => {
    this.#early = this.#early === undefined ? chunk : Buffer.concat([this.#early, chunk]);
    const detection = detectProtocol(this.#early);
    if (detection !== "more") this.#decide(detection);
  };

  #decide(spoken: Spoken): void {
    if (this.#isDecided) return;
    this.#isDecided = true;
    clearTimeout(this.#timer);
    (this.#asking as NodeJS.EventEmitter).off("data", this.#onFirst);
    const early = this.#early ?? NO_BYTES;
    this.#early = undefined;
    if (spoken === "http1") return this.#speakHttp1(early);
    if (spoken === "http2") return this.#speakHttp2(early);
    this.#passOpaque(early);
  }

  #speakHttp1(early: Buffer): void {
    const made = new JudgedHttp1(this.#asking, this);
    this.#http1 = made;
    this.#way = new Http1Endpoint(this.#endpoint, () => made.endIfIdle(0));
    this.#endpoint.resume();
    made.start(early);
  }

  #speakHttp2(early: Buffer): void {
    const made = new JudgedHttp2(this.#asking, this, () => {});
    this.#http2 = made;
    this.#way = new Http2Endpoint(this.#endpoint, () => made.drain());
    this.#endpoint.resume();
    made.receive(early);
  }

  /** No HTTP: the rules are asked once, as for a request of which nothing is known. */
  #passOpaque(early: Buffer): void {
    const verdict = this.#judge(null);
    const isEnded = early.length === 0 && this.#asking.readableEnded;
    if ("name" in verdict) {
      // Who only looks whether somebody listens is told nothing more, and nobody is told of it.
      if (!isEnded) this.refused(verdict, undefined);
      abort(this.#asking);
      return;
    }
    if (verdict.wouldDeny) this.#countWouldDeny();
    if (early.length > 0) {
      this.counters.up.value += early.length;
      this.#endpoint.write(early);
    }
    relay(this.#asking, this.#endpoint, this.counters);
    this.#endpoint.resume();
    this.#asking.resume();
  }

  // ---- JudgedHttp1Host ------------------------------------------------------------------------------------------------

  route(head: RequestHead): RequestRoute | Problem {
    const verdict = this.#judge(head);
    if ("name" in verdict) return verdict;
    if (verdict.wouldDeny) this.#countWouldDeny();
    return this.#way === undefined
      ? problem("upstream_reset", "the endpoint is gone")
      : { pool: this.#way, head: head.forwardable, requestMs: REQUEST_MS };
  }

  refused(reason: Problem, _head: RequestHead | undefined): void {
    const { metrics, events } = this.#arrivals.options;
    const { caller, service, port } = this.#arrival;
    metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    events.refusal("request_refused", reason, { caller: caller.uri, service: serviceKey(service), port });
  }

  answered(): void {}

  begun(): void {}

  closed(): void {}

  // ---- decisions ----------------------------------------------------------------------------------------------------

  #judge(head: RequestHead | null): Problem | { readonly wouldDeny: boolean } {
    const { service, port, caller } = this.#arrival;
    const tables = this.#arrivals.options.tables.current;
    if (tables === undefined) return problem("snapshot_missing", "no snapshot");
    const request = head && { method: head.method, path: pathOf(head.target) };
    return authorizeRequest(tables.authorization, service, port, caller, request);
  }

  #refusalOf(head: RequestHead): Problem | undefined {
    const verdict = this.#judge(head);
    return "name" in verdict ? verdict : undefined;
  }

  #countWouldDeny(): void {
    this.#arrivals.options.metrics.arrivalWouldDeny.series(this.#arrival.labels).value += 1;
  }
}

const NO_BYTES = Buffer.alloc(0);
