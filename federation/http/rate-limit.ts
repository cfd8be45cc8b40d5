/** Requests a second that one principal may make for long, and how many at once after a pause. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/**
 * Far above what anybody needs: a cluster of a thousand members that report and poll, a pipeline that applies file after
 * file. They keep one that runs wild from being everybody's trouble. Each instance counts for itself.
 */
export const RATES = {
  member: { perSecond: 500, burst: 2_000 },
  operator: { perSecond: 500, burst: 2_000 },
} as const satisfies { readonly [kind: string]: Rate };

/** Those that ask at once; one that was forgotten begins with a full bucket again. */
const MAX_PRINCIPALS = 20_000;

interface Bucket {
  tokens: number;
  at: number;
}

/** Token buckets by principal: a cluster with all its members, or an operator. */
export class RateLimits {
  readonly #buckets = new Map<string, Bucket>();

  take(principal: string, { perSecond, burst }: Rate, now: number): boolean {
    const bucket = this.#buckets.get(principal) ?? { tokens: burst, at: now };
    const passed = Math.max(0, now - bucket.at);
    bucket.tokens = Math.min(burst, bucket.tokens + (passed * perSecond) / 1_000);
    bucket.at = now;
    if (!this.#buckets.has(principal)) this.#remember(principal, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  #remember(principal: string, bucket: Bucket): void {
    if (this.#buckets.size >= MAX_PRINCIPALS) {
      const [oldest = ""] = this.#buckets.keys();
      this.#buckets.delete(oldest);
    }
    this.#buckets.set(principal, bucket);
  }
}
