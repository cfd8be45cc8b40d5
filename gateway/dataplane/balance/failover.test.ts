import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_FAILOVER, type Destination, divideTraffic, pickShare } from "./failover.ts";

const at = (priority: number, weight: number, readiness: number, rawReadiness = readiness): Destination => ({
  priority,
  weight,
  readiness,
  rawReadiness,
});

const rounded = (shares: readonly number[]) => shares.map((share) => Math.round(share * 1_000) / 1_000);
const divided = (...destinations: readonly Destination[]) => rounded(divideTraffic(destinations));

describe("divideTraffic", () => {
  it.each([
    ["gives a single destination everything, ready or not", [at(0, 1, 0)], [1]],
    ["keeps all traffic on the first level while it is whole", [at(0, 1, 1), at(1, 1, 1)], [1, 0]],
    [
      "keeps it there while the missing part fits the overprovisioning",
      [at(0, 1, 0.72), at(1, 1, 1)],
      [1, 0],
    ],
    ["sends what the first level cannot carry to the next", [at(0, 1, 0.5), at(1, 1, 1)], [0.7, 0.3]],
    ["takes levels by their number, in whatever order they come", [at(1, 1, 1), at(0, 1, 1)], [0, 1]],
    [
      "believes readiness while half of a level serves, though that cannot carry all",
      [at(0, 1, 1), at(0, 1, 0)],
      [1, 0],
    ],
    ["disregards it below a half", [at(0, 1, 0.98), at(0, 1, 0)], [0.5, 0.5]],
    ["moves everything when the first level is gone", [at(0, 1, 0), at(1, 1, 1)], [0, 1]],
    ["divides a level by weight times readiness", [at(0, 3, 1), at(0, 1, 1), at(1, 1, 1)], [0.75, 0.25, 0]],
    [
      "lets a level's other members take over before the next level does",
      [at(0, 1, 0.5), at(0, 1, 1), at(1, 1, 1)],
      [0.333, 0.667, 0],
    ],
    [
      "composes weights and priorities when a weighted member is gone",
      [at(0, 1, 0), at(0, 1, 1), at(1, 1, 1)],
      [0, 0.7, 0.3],
    ],
    ["goes on to the third level", [at(0, 1, 0.25), at(1, 1, 0.25), at(2, 1, 1)], [0.35, 0.35, 0.3]],
    [
      "disregards readiness in a level under the panic threshold when all together are too weak",
      [at(0, 1, 0.1), at(0, 1, 0.3)],
      [0.5, 0.5],
    ],
    ["heeds readiness above the panic threshold", [at(0, 1, 0.5), at(0, 1, 0.7)], [0.417, 0.583]],
    [
      "never panics while another level carries the load",
      [at(0, 1, 0.1), at(0, 1, 0.3), at(1, 1, 1)],
      [0.07, 0.21, 0.72],
    ],
    ["prefers what is coming back to what is gone", [at(0, 1, 0), at(1, 1, 0, 1)], [0, 1]],
    [
      "tries the first level when everything is gone",
      [at(0, 1, 0), at(0, 3, 0), at(1, 1, 0)],
      [0.25, 0.75, 0],
    ],
    ["gives nothing to weight 0", [at(0, 0, 1), at(0, 1, 0.8)], [0, 1]],
    ["passes over a level that has no weight", [at(0, 0, 1), at(1, 1, 0)], [0, 1]],
  ])("%s", (_what, destinations, shares) => {
    expect(divided(...destinations)).toEqual(shares);
  });

  it("finds nothing in an empty list", () => {
    expect(divideTraffic([])).toEqual([]);
  });

  const part = fc.double({ min: 0, max: 1, noNaN: true });
  const destination = fc.record({
    priority: fc.nat({ max: 3 }),
    weight: fc.nat({ max: 100 }),
    readiness: part,
    rawReadiness: part,
  });

  it("always divides the whole, and never gives to what has no weight", () => {
    fc.assert(
      fc.property(fc.array(destination, { minLength: 1, maxLength: 8 }), (destinations) => {
        const shares = divideTraffic(destinations);
        const total = shares.reduce((sum, share) => sum + share, 0);
        const anyWeight = destinations.some(({ weight }) => weight > 0);
        expect(total).toBeCloseTo(anyWeight ? 1 : 0, 6);
        shares.forEach((share, index) => {
          expect(share).toBeGreaterThanOrEqual(0);
          if (destinations[index]?.weight === 0) expect(share).toBe(0);
        });
      }),
    );
  });

  it("gives nothing to a destination that is gone while the levels carry the load without it", () => {
    fc.assert(
      fc.property(fc.array(destination, { minLength: 1, maxLength: 6 }), (others) => {
        const whole: Destination = at(4, 1, 1);
        const gone = at(0, 50, 0);
        expect(divideTraffic([gone, ...others, whole])[0]).toBe(0);
      }),
    );
  });

  it("never sends a later level more when an earlier one gets better", () => {
    fc.assert(
      fc.property(part, part, (low, more) => {
        const better = Math.min(1, low + more);
        const [, before = 0] = divideTraffic([at(0, 1, low), at(1, 1, 1)], DEFAULT_FAILOVER);
        const [, after = 0] = divideTraffic([at(0, 1, better), at(1, 1, 1)], DEFAULT_FAILOVER);
        expect(after).toBeLessThanOrEqual(before + 1e-9);
      }),
    );
  });
});

describe("pickShare", () => {
  it.each([
    [0, 1],
    [0.249, 1],
    [0.25, 3],
    [0.999, 3],
  ])("lets %d fall into its part", (random, index) => {
    expect(pickShare([0, 0.25, 0, 0.75], random)).toBe(index);
  });

  it("takes the last one with a part where rounding leaves a gap", () => {
    expect(pickShare([0.3, 0.3, 0.3999, 0], 0.99999)).toBe(2);
  });

  it("finds nothing where nobody has a part", () => {
    expect(pickShare([], 0.5)).toBe(-1);
    expect(pickShare([0, 0], 0.5)).toBe(-1);
  });
});
