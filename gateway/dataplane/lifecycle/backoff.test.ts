import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";

describe("the back-off", () => {
  it("begins fast and doubles up to a second", () => {
    const ceilings = [0, 1, 2, 3, 4, 5, 6, 100].map((attempt) => backoffMs(attempt, 1));
    expect(ceilings).toEqual([50, 100, 200, 400, 800, 1_000, 1_000, 1_000]);
  });

  it("spreads over the upper half, so that peers do not come back in step", () => {
    expect(backoffMs(5, 0)).toBe(500);
    expect(backoffMs(5, 0.5)).toBe(750);
  });

  it("is never nothing and never more than a second", () => {
    fc.assert(
      fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
        expect(backoffMs(attempt, random)).toBeGreaterThanOrEqual(25);
        expect(backoffMs(attempt, random)).toBeLessThanOrEqual(1_000);
      }),
    );
  });
});
