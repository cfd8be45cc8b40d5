import { type Rate, TokenBucket } from "./token-bucket.ts";

// A lease covers about this long of the whole limit: short, so that little lies idle; long against a round trip.
const LEASE_MS = 50;

/** What a member should say to the leader. */
export interface LeaseAsk {
  readonly wanted: number;
  readonly held: number;
}

/**
 * A member's side of a shared limit: it spends tokens that the leader gave it. While no leader can be reached it falls back to
 * the part of the limit that is its own (`share-lender.ts`), so that the sum stays within it and nobody is locked out.
 */
export class LeasedBucket {
  #rate: Rate;
  #held = 0;
  #asked = 0;
  #fallback: TokenBucket | undefined;
  #part = 0;

  /** Starts without a leader, with nothing of the limit. */
  constructor(rate: Rate, now: number) {
    this.#rate = rate;
    this.#fallback = new TokenBucket(partOf(rate, 0), now, 0);
  }

  /** It spends a part of its own: what a leader granted beside it would be a second burst. */
  get isAlone(): boolean {
    return this.#fallback !== undefined && this.#part > 0;
  }

  /** Takes one token; answers 0, or after how many milliseconds it is worth trying again. */
  take(now: number): number {
    if (this.#held >= 1) {
      this.#held -= 1;
      return 0;
    }
    const waitMs = this.#fallback?.take(now) ?? Number.POSITIVE_INFINITY;
    return Number.isFinite(waitMs) ? waitMs : 1 / this.#rate.perMs;
  }

  /**
   * What to ask for now; `undefined` while enough is here or on its way. Questions overlap, so that a slow link costs delay and
   * not tokens; the worst that a crossing grant does is to double what lies here.
   */
  ask(): LeaseAsk | undefined {
    const missing = this.#target - this.#held - this.#asked;
    if (missing * 2 < this.#target) return undefined;
    this.#asked = this.#target - this.#held;
    return { wanted: this.#asked, held: this.#held };
  }

  get #target(): number {
    return Math.max(1, Math.floor(this.#rate.perMs * LEASE_MS));
  }

  granted(tokens: number): void {
    this.#held += tokens;
    this.#asked = Math.max(0, this.#asked - tokens);
  }

  /** A leader has our part, or another one does: questions begin anew. What came in before that is spent first. */
  led(now: number): void {
    // Where there are other owners, what came in here and what comes from the leader would be two bursts.
    if (this.#part === 1) this.#held += this.#fallback?.takeUpTo(this.#target, now) ?? 0;
    this.#fallback = undefined;
    this.#asked = 0;
  }

  /** Nobody else has our part: `part` of the limit, from 0 to 1, is this process's own. Said again when that changes. */
  unled(part: number, now: number): void {
    this.#part = part;
    this.#asked = 0;
    const rate = partOf(this.#rate, part);
    if (this.#fallback === undefined) this.#fallback = new TokenBucket(rate, now, 0);
    else this.#fallback.setRate(rate, now);
  }

  setRate(rate: Rate): void {
    this.#rate = rate;
    this.#held = Math.min(this.#held, Math.max(1, rate.perMs * LEASE_MS));
  }
}

/** At least one at once, unless it is nothing: a burst of less would let nothing through, ever. */
export function partOf({ perMs, burst }: Rate, part: number): Rate {
  return part === 0 ? { perMs: 0, burst: 0 } : { perMs: perMs * part, burst: Math.max(1, burst * part) };
}
