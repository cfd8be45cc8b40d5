import { describe, expect, it } from "vitest";
import { slope } from "./trend.ts";

describe("slope of a series", () => {
  it("finds the rise per unit through noise that cancels out", () => {
    const points = Array.from({ length: 100 }, (_, x) => ({ x, y: 50 + 0.25 * x + (x % 4 < 2 ? 1 : -1) }));
    expect(slope(points)).toBeCloseTo(0.25, 1);
  });

  it("is zero for a level series, for one point and for none", () => {
    expect(
      slope([
        { x: 1, y: 5 },
        { x: 2, y: 5 },
      ]),
    ).toBe(0);
    expect(slope([{ x: 1, y: 5 }])).toBe(0);
    expect(slope([])).toBe(0);
  });
});
