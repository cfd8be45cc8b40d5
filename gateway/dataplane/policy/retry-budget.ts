/** Retries that are allowed within an interval: a part of its requests, or a fixed number where that is more. */
export interface BudgetLimits {
  readonly percent: number;
  readonly intervalMs: number;
  readonly minPerInterval: number;
}

const SLICES = 10;

/**
 * Counts requests and retries over the last interval, in ten slices. It is what keeps a service that fails from being asked
 * twice as often as one that works: when the budget is spent, failures are passed on.
 */
export class RetryBudget {
  readonly #requests = new Float64Array(SLICES);
  readonly #retries = new Float64Array(SLICES);
  #slice = 0;
  #sliceEndMs = 0;
  #requestSum = 0;
  #retrySum = 0;

  request(limits: BudgetLimits, nowMs: number): void {
    this.#turn(limits, nowMs);
    this.#requests[this.#slice] = (this.#requests[this.#slice] ?? 0) + 1;
    this.#requestSum += 1;
  }

  /** Whether one more retry is allowed; if so, it is counted. */
  retry(limits: BudgetLimits, nowMs: number): boolean {
    this.#turn(limits, nowMs);
    const allowed = Math.max((this.#requestSum * limits.percent) / 100, limits.minPerInterval);
    if (this.#retrySum + 1 > allowed) return false;
    this.#retries[this.#slice] = (this.#retries[this.#slice] ?? 0) + 1;
    this.#retrySum += 1;
    return true;
  }

  #turn({ intervalMs }: BudgetLimits, nowMs: number): void {
    if (nowMs < this.#sliceEndMs) return;
    const sliceMs = intervalMs / SLICES;
    const passed = 1 + Math.floor((nowMs - this.#sliceEndMs) / sliceMs);
    for (let turn = 0; turn < Math.min(passed, SLICES); turn++) {
      this.#slice = (this.#slice + 1) % SLICES;
      this.#requestSum -= this.#requests[this.#slice] ?? 0;
      this.#retrySum -= this.#retries[this.#slice] ?? 0;
      this.#requests[this.#slice] = 0;
      this.#retries[this.#slice] = 0;
    }
    // Slices keep their beat, however rarely somebody asks.
    this.#sliceEndMs += passed * sliceMs;
  }
}
