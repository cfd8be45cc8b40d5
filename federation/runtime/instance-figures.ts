import type { Answered } from "../http/app.ts";
import type { TableCost } from "../store/dynamodb/open.ts";

/** A line a minute and instance costs nothing to keep; one per request would cost more than the requests. */
const EVERY_MS = 60_000;
const NAMESPACE = "Isthmus/Registry";

/**
 * What one instance did, where a scrape would reach any of them: told in its log, in CloudWatch's embedded metric
 * format, which the log's owner turns into metrics without another service; elsewhere it is a line of JSON.
 */
export class InstanceFigures {
  #sinceMs: number;
  #figures = empty();

  constructor(now: number) {
    this.#sinceMs = now;
  }

  answered({ status }: Answered, ms: number): void {
    this.#figures.Requests += 1;
    this.#figures.LatencyMs += ms;
    if (status === 304) this.#figures.NotModified += 1;
    else if (status === 429) this.#figures.Limited += 1;
    else if (status >= 500) this.#figures.Faults += 1;
    else if (status >= 400) this.#figures.Refusals += 1;
  }

  charged({ read, write, retries }: TableCost): void {
    this.#figures.ReadUnits += read;
    this.#figures.WriteUnits += write;
    this.#figures.Retries += retries;
  }

  /** A line, where it is time for one; the next begins at nothing. */
  flush(now: number, gauges: { readonly Revision: number; readonly Clusters: number }): string | undefined {
    if (now - this.#sinceMs < EVERY_MS || this.#figures.Requests === 0) return undefined;
    const figures = { ...this.#figures, ...gauges };
    this.#figures = empty();
    this.#sinceMs = now;
    const metrics = Object.keys(figures).map((Name) => ({
      Name,
      Unit: Name === "LatencyMs" ? "Milliseconds" : "Count",
    }));
    const directive = { Namespace: NAMESPACE, Dimensions: [["role"]], Metrics: metrics };
    const meta = { Timestamp: now, CloudWatchMetrics: [directive] };
    return JSON.stringify({ _aws: meta, role: "registry", ...figures });
  }
}

function empty() {
  return {
    Requests: 0,
    LatencyMs: 0,
    NotModified: 0,
    Limited: 0,
    Refusals: 0,
    Faults: 0,
    ReadUnits: 0,
    WriteUnits: 0,
    Retries: 0,
  };
}
