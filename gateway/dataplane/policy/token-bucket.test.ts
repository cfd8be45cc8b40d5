import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { TokenBucket } from "./token-bucket.ts";

const HUNDRED_A_SECOND = { perMs: 0.1, burst: 5 };

/** How many of the requests, at these times, get through. */
function admitted(bucket: TokenBucket, times: readonly number[]): number {
  return times.filter((now) => bucket.take(now) === 0).length;
}

describe("a token bucket", () => {
  it("lets 95 to 105 requests a second through, however many come", () => {
    const bucket = new TokenBucket(HUNDRED_A_SECOND, 0);
    for (let second = 0; second < 10; second++) {
      const times = Array.from({ length: 5_000 }, (_, index) => second * 1_000 + index / 5);
      const passed = admitted(bucket, times);
      expect(passed).toBeGreaterThanOrEqual(95);
      expect(passed).toBeLessThanOrEqual(105);
    }
  });

  it("says when the next token is there, and is right", () => {
    const bucket = new TokenBucket(HUNDRED_A_SECOND, 0, 0);
    expect(bucket.take(4)).toBe(6);
    expect(bucket.take(9)).toBe(1);
    expect(bucket.take(10)).toBe(0);
  });

  it("grants nothing and takes nothing when the clock steps back", () => {
    const bucket = new TokenBucket(HUNDRED_A_SECOND, 1_000_000);
    expect(admitted(bucket, [1_000_000, 500_000, 400_000, 300_000, 200_000, 100_000])).toBe(5);
    expect(bucket.take(100_010)).toBe(0);
  });

  it("keeps what was given back beyond its burst, and adds nothing to it", () => {
    const bucket = new TokenBucket(HUNDRED_A_SECOND, 0);
    bucket.giveBack(5);
    expect(bucket.takeUpTo(100, 1_000)).toBe(10);
  });

  it("never answers that there will be a token where the rate is nothing", () => {
    expect(new TokenBucket({ perMs: 0, burst: 1 }, 0, 0).take(1_000)).toBe(Number.POSITIVE_INFINITY);
  });

  it("gives away whole tokens, and only what it has", () => {
    const bucket = new TokenBucket(HUNDRED_A_SECOND, 0);
    expect(bucket.takeUpTo(3.9, 0)).toBe(3);
    expect(bucket.takeUpTo(10, 15)).toBe(3);
    expect(bucket.takeUpTo(-1, 15)).toBe(0);
    expect(bucket.takeUpTo(1, 20)).toBe(1);
  });

  it("keeps to another rate from the moment it is set", () => {
    const bucket = new TokenBucket(HUNDRED_A_SECOND, 0);
    bucket.setRate({ perMs: 1, burst: 2 }, 0);
    expect(bucket.takeUpTo(10, 0)).toBe(2);
    expect(bucket.takeUpTo(10, 1)).toBe(1);
  });

  it("never lets more through than burst plus rate times time", () => {
    const gaps = fc.array(fc.nat({ max: 400 }), { maxLength: 200 });
    const rate = fc.record({
      perMs: fc.double({ min: 0.001, max: 2, noNaN: true }),
      burst: fc.integer({ min: 1, max: 50 }),
    });
    fc.assert(
      fc.property(rate, gaps, (given, steps) => {
        const bucket = new TokenBucket(given, 0);
        let now = 0;
        let passed = 0;
        for (const step of steps) {
          now += step;
          if (bucket.take(now) === 0) passed += 1;
        }
        expect(passed).toBeLessThanOrEqual(given.burst + now * given.perMs + 1e-6);
      }),
    );
  });
});
