import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ADMITTING, mayEject, type OutlierEvent, type OutlierState, transition } from "./outlier-state.ts";

const CONFIG = { consecutiveErrors: 3, baseEjectionMs: 1_000, maxEjectionMs: 5_000 };
const NOW = 50_000;
const FAILING: OutlierState = { kind: "admitting", failures: 2 };
const EJECTED: OutlierState = { kind: "ejected", untilMs: NOW, backoffMs: 1_000 };
const PROBING: OutlierState = { kind: "probing", backoffMs: 4_000 };

describe("an outlier's state", () => {
  const rows: readonly [string, OutlierState, OutlierEvent, boolean, OutlierState][] = [
    ["counts a failure", ADMITTING, "failure", true, { kind: "admitting", failures: 1 }],
    ["forgets failures with a success", FAILING, "success", true, ADMITTING],
    [
      "is ejected by the last failure of a row",
      FAILING,
      "failure",
      true,
      { kind: "ejected", untilMs: NOW + 1_000, backoffMs: 1_000 },
    ],
    [
      "stays one failure short of the limit while there is no room, also when the limit was higher before",
      { kind: "admitting", failures: 4 },
      "failure",
      false,
      FAILING,
    ],
    ["probes when its time is over", EJECTED, "tick", true, { kind: "probing", backoffMs: 1_000 }],
    ["is admitted by a success while probing", PROBING, "success", true, ADMITTING],
    [
      "is ejected for twice as long by a failure while probing, up to the bound",
      PROBING,
      "failure",
      true,
      { kind: "ejected", untilMs: NOW + 5_000, backoffMs: 5_000 },
    ],
  ];
  it.each(rows)("%s", (_what, from, event, room, to) => {
    expect(transition(from, event, NOW, CONFIG, room)).toEqual(to);
  });

  it.each([
    ["admitting, success", ADMITTING, "success", true],
    ["admitting, tick", FAILING, "tick", true],
    ["admitting, the last failure without room", FAILING, "failure", false],
    ["ejected, success", EJECTED, "success", true],
    ["ejected, failure", EJECTED, "failure", true],
    ["ejected, tick before its time", { ...EJECTED, untilMs: NOW + 1 }, "tick", true],
    ["probing, tick", PROBING, "tick", true],
  ] as const)("stays the same object on %s", (_what, state, event, room) => {
    expect(transition(state, event, NOW, CONFIG, room)).toBe(state);
  });
});

describe("mayEject", () => {
  it.each([
    [0, 1, 100, false],
    [0, 2, 50, true],
    [1, 2, 100, false],
    [1, 4, 50, true],
    [2, 4, 50, false],
    [0, 3, 10, false],
    [0, 10, 10, true],
    [0, 0, 50, false],
  ])("%d of %d ejected at %d percent: %s", (ejected, total, percent, answer) => {
    expect(mayEject(ejected, total, percent)).toBe(answer);
  });

  it("always leaves one", () => {
    fc.assert(
      fc.property(fc.nat({ max: 50 }), fc.integer({ min: 0, max: 100 }), (total, percent) => {
        let ejected = 0;
        while (mayEject(ejected, total, percent)) ejected += 1;
        expect(ejected).toBeLessThanOrEqual(Math.max(0, total - 1));
        expect(ejected * 100).toBeLessThanOrEqual(total * percent);
      }),
    );
  });
});
