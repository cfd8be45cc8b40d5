import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FailedTries, nextTry } from "./failed-tries.ts";

function failed(...tries: readonly Parameters<FailedTries["add"]>[]): FailedTries {
  const known = new FailedTries();
  for (const one of tries) known.add(...one);
  return known;
}

describe("where tries of a request have failed", () => {
  it("names the endpoints to avoid, of each place by itself", () => {
    const known = failed(["east", "a", "reset"], ["east", "b", undefined], ["north", undefined, "timeout"]);
    expect(known.avoid("east")).toBe("a,b");
    expect([known.avoid("north"), known.avoid("west")]).toEqual([undefined, undefined]);
    expect(["b", "c", undefined].map((name) => known.mayHaveFailedAt("east", name))).toEqual([
      true,
      false,
      true,
    ]);
    expect(known.mayHaveFailedAt("north", "b")).toBe(false);
    expect([known.has("north"), known.has("west")]).toEqual([true, false]);
  });

  it.each([
    ["as many failed as are ready", 2, { ready: 2, total: 4 }, false],
    ["one more is ready", 1, { ready: 2, total: 4 }, true],
  ])("leave an endpoint or none by how many are ready, also where nobody says which failed: %s", (...row) => {
    const [, tries, known, expected] = row;
    const places = new FailedTries();
    for (let count = 0; count < tries; count++) places.add("east", undefined, "timeout");
    expect(places.leaves("east", known)).toBe(expected);
  });

  it("leave none where every one of them refused, whatever counts as ready", () => {
    const tries = failed(["east", "a", "connect-failure"], ["east", "b", "connect-failure"]);
    expect(tries.leaves("east", { ready: 1, total: 2 })).toBe(false);
    expect(tries.leaves("east", { ready: 1, total: 3 })).toBe(true);
  });

  it("remember that the way was cut, also when an endpoint refused since", () => {
    const tries = failed(["east", undefined, "connect-failure"], ["east", "a", "connect-failure"]);
    expect(tries.leaves("east", { ready: 3, total: 3 })).toBe(false);
  });

  it.each([
    ["nothing is known of the endpoints", ["east", "a", "reset"], undefined, true],
    ["another one is ready", ["east", "a", "reset"], { ready: 2, total: 2 }, true],
    ["the only one failed", ["east", "a", "reset"], { ready: 1, total: 1 }, false],
    [
      "the one that refused is counted as lost already",
      ["east", "a", "connect-failure"],
      { ready: 1, total: 2 },
      true,
    ],
    ["the way there is cut", ["east", undefined, "connect-failure"], { ready: 2, total: 2 }, false],
    [
      "a drained stream says nothing about endpoints",
      ["east", undefined, "refused-stream"],
      { ready: 1, total: 1 },
      true,
    ],
  ] as const)("says whether an endpoint is left where %s", (_what, tried, known, expected) => {
    expect(failed([...tried]).leaves("east", known)).toBe(expected);
  });
});

describe("where the next try goes", () => {
  it.each([
    ["another cluster that gets traffic", [0.5, 0.5], [true, false], true, [0, 1]],
    ["those that are left, by their shares", [0.5, 0.3, 0.2], [true, false, false], true, [0, 0.6, 0.4]],
    ["the same cluster while that has another endpoint", [1, 0], [true, false], true, "same"],
    ["a cluster of the next level when it has none", [1, 0], [true, false], false, "others"],
    ["the same one when all have failed", [0.5, 0.5], [true, true], false, "same"],
  ] as const)("is %s", (_what, shares, hasFailed, leaves, expected) => {
    const next = nextTry(shares, hasFailed, leaves);
    expect(typeof next === "string" ? next : next.map((share) => Math.round(share * 100) / 100)).toEqual(
      expected,
    );
  });

  it("never is one that has failed while one in use has not", () => {
    const place = fc.record({ share: fc.double({ min: 0, max: 1, noNaN: true }), failed: fc.boolean() });
    fc.assert(
      fc.property(fc.array(place, { minLength: 1, maxLength: 6 }), fc.boolean(), (places, leaves) => {
        const next = nextTry(
          places.map(({ share }) => share),
          places.map((one) => one.failed),
          leaves,
        );
        if (typeof next === "string") return;
        expect(next.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
        expect(places.every((one, index) => !one.failed || next[index] === 0)).toBe(true);
      }),
    );
  });
});
