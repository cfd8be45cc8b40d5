/** A rate: `perMs` tokens a millisecond, and at most `burst` at once. */
export interface Rate {
  readonly perMs: number;
  readonly burst: number;
}

// Sums of parts of tokens fall short of the whole by this much.
const ROUNDING = 1e-9;

/** Time passes in it only forwards, so that a clock that steps back grants nothing and takes nothing. */
export class TokenBucket {
  #rate: Rate;
  #tokens: number;
  #atMs: number;

  /** `tokens`: what it starts with; full unless given. */
  constructor(rate: Rate, now: number, tokens: number = rate.burst) {
    this.#rate = rate;
    this.#tokens = tokens;
    this.#atMs = now;
  }

  /** Takes one token; answers 0, or after how many whole milliseconds there will be one. */
  take(now: number): number {
    this.#refill(now);
    if (this.#tokens >= 1 - ROUNDING) {
      this.#tokens -= 1;
      return 0;
    }
    const { perMs } = this.#rate;
    return perMs <= 0 ? Number.POSITIVE_INFINITY : Math.ceil((1 - this.#tokens) / perMs - ROUNDING);
  }

  /** Takes up to `wanted` whole tokens. */
  takeUpTo(wanted: number, now: number): number {
    this.#refill(now);
    const taken = Math.max(0, Math.min(Math.floor(this.#tokens + ROUNDING), Math.floor(wanted)));
    this.#tokens -= taken;
    return taken;
  }

  /** Of what was just taken. */
  giveBack(tokens: number): void {
    this.#tokens += tokens;
  }

  /** From now on at another rate; what is in it stays, as far as it fits. */
  setRate(rate: Rate, now: number): void {
    this.#refill(now);
    this.#rate = rate;
    this.#tokens = Math.min(this.#tokens, rate.burst);
  }

  #refill(now: number): void {
    const passedMs = now - this.#atMs;
    this.#atMs = now;
    if (passedMs <= 0) return;
    this.#tokens = Math.min(
      Math.max(this.#rate.burst, this.#tokens),
      this.#tokens + passedMs * this.#rate.perMs,
    );
  }
}
