import { describe, expect, it } from "vitest";
import { RetryBudget } from "./retry-budget.ts";

const LIMITS = { percent: 20, intervalMs: 10_000, minPerInterval: 3 };

describe("a retry budget", () => {
  it("allows its minimum without any request", () => {
    const budget = new RetryBudget();
    expect([1, 2, 3, 4].map(() => budget.retry(LIMITS, 1_000))).toEqual([true, true, true, false]);
  });

  it("allows its part of the requests where that is more", () => {
    const budget = new RetryBudget();
    for (let count = 0; count < 100; count++) budget.request(LIMITS, 1_000);
    let allowed = 0;
    for (let count = 0; count < 100; count++) if (budget.retry(LIMITS, 1_500)) allowed += 1;
    expect(allowed).toBe(20);
  });

  it("forgets what is older than its interval, slice by slice", () => {
    const budget = new RetryBudget();
    for (let count = 0; count < 3; count++) budget.retry(LIMITS, 1_000);
    expect(budget.retry(LIMITS, 9_900)).toBe(false);
    expect(budget.retry(LIMITS, 11_100)).toBe(true);
  });

  it("never allows more than a full interval's budget in any interval", () => {
    const budget = new RetryBudget();
    const granted: number[] = [];
    for (let now = 0; now < 60_000; now += 50) {
      budget.request(LIMITS, now);
      for (let tries = 0; tries < 3; tries++) if (budget.retry(LIMITS, now)) granted.push(now);
    }
    for (let start = 0; start < 50_000; start += 500) {
      const within = granted.filter((at) => at >= start && at < start + 9_000).length;
      expect(within).toBeLessThanOrEqual(42);
    }
  });

  it("starts anew after a long silence", () => {
    const budget = new RetryBudget();
    for (let count = 0; count < 1_000; count++) budget.request(LIMITS, 1_000);
    let allowed = 0;
    for (let count = 0; count < 100; count++) if (budget.retry(LIMITS, 1_000_000)) allowed += 1;
    expect(allowed).toBe(3);
  });

  it("counts a slice out only once, however often it comes round", () => {
    const budget = new RetryBudget();
    for (let count = 0; count < 100; count++) budget.request(LIMITS, 1_000);
    for (const now of [12_000, 23_000]) budget.request(LIMITS, now);
    for (let count = 0; count < 99; count++) budget.request(LIMITS, 23_000);
    const allowed = Array.from({ length: 100 }, () => budget.retry(LIMITS, 23_000)).filter(Boolean).length;
    expect(allowed).toBe(20);
  });
});
