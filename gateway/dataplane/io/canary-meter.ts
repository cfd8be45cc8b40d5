import { CANARY_LATENCY_BOUNDS_MS, type CanaryStats } from "../../../federation/model/resource.ts";

/** Counts what became of the requests to one canary. */
export class CanaryMeter {
  #requests = 0;
  #failures = 0;
  readonly #latency: number[] = [...CANARY_LATENCY_BOUNDS_MS, 0].map(() => 0);

  /** `latencyMs`: until the head of the answer; `undefined`: there was none. */
  record(failed: boolean, latencyMs: number | undefined): void {
    this.#requests += 1;
    if (failed) this.#failures += 1;
    if (latencyMs === undefined) return;
    let index = 0;
    while (latencyMs > (CANARY_LATENCY_BOUNDS_MS[index] ?? Number.POSITIVE_INFINITY)) index += 1;
    this.#latency[index] = (this.#latency[index] ?? 0) + 1;
  }

  stats(): CanaryStats {
    return { requests: this.#requests, failures: this.#failures, latency: [...this.#latency] };
  }
}
