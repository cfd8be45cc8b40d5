import type { TrustDomain } from "../../../federation/model/spiffe-id.ts";
import type { Counter, Metrics } from "./counters.ts";
import type { Histogram, Labels } from "./metric-family.ts";

/** By the owner's rules: may pass, may pass though an observing policy would deny, may not. */
export type Verdict = "permitted" | "observed" | "refused";

const VERDICTS: readonly Verdict[] = ["permitted", "observed", "refused"];
/** By first digit; `none`: the caller left before there was an answer. */
const STATUS_CLASSES: readonly string[] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/** The same on every family of the path, so that they can be joined. Empty: not known, as for what was refused before. */
export interface RouteLabels extends Labels {
  readonly source_cluster: string;
  /** `ns/shop/sa/web` */
  readonly workload: string;
  readonly destination_cluster: string;
  /** Local name, `cart.shop`. */
  readonly service: string;
  readonly port: string;
  readonly version: string;
  readonly route: string;
}

/** `east` of `east.acme.mesh`: a cluster's trust domain is its name before the federation's. */
export function clusterOf(trustDomain: TrustDomain): string {
  const dot = trustDomain.indexOf(".");
  return dot === -1 ? trustDomain : trustDomain.slice(0, dot);
}

/** The counters of all requests from one workload by one route to one destination: made once, read by every request. */
export class RouteSeries {
  readonly labels: RouteLabels;
  readonly up: Counter;
  readonly down: Counter;
  readonly retries: Counter;
  readonly duration: Histogram;
  readonly #metrics: Metrics;
  /** By status class and verdict; made when first needed. */
  readonly #requests: (Counter | undefined)[] = [];

  constructor(labels: RouteLabels, metrics: Metrics) {
    this.labels = labels;
    this.#metrics = metrics;
    const bytes = (way: string) => metrics.bytes.series({ direction: "outbound", ...labels, way });
    this.up = bytes("up");
    this.down = bytes("down");
    this.retries = metrics.retries.series(labels);
    this.duration = metrics.requestDuration.series(labels);
  }

  /** `status` is 0 where there was no answer. */
  finished(status: number, verdict: Verdict, seconds: number): void {
    const group = status >= 600 ? 5 : Math.floor(status / 100);
    const index = group * VERDICTS.length + VERDICTS.indexOf(verdict);
    const counter = this.#requests[index] ?? this.#makeRequests(index, group, verdict);
    counter.value += 1;
    this.duration.observe(seconds);
  }

  failed(reason: string): void {
    this.#metrics.requestErrors.series({ ...this.labels, reason }).value += 1;
  }

  #makeRequests(index: number, group: number, verdict: Verdict): Counter {
    const status = STATUS_CLASSES[group] ?? "none";
    const made = this.#metrics.requests.series({ ...this.labels, status, verdict });
    this.#requests[index] = made;
    return made;
  }
}
