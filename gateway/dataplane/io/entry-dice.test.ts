import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compileRule } from "../routing/compile-rule.ts";
import { EntryDice } from "./entry-dice.ts";

const RULE = compileRule(
  {
    cluster: "west",
    namespace: "shop",
    name: "cart",
    firstSeen: "2026-01-01T00:00:00Z",
    mode: "enforce",
    parents: [],
    rules: [],
  },
  {},
  0,
);

const start = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

const diceFrom = (seed: number): EntryDice =>
  new EntryDice(
    () => seed,
    () => undefined,
    () => undefined,
  );

/** How many of so many draws fall below `share`. */
function below(dice: EntryDice, share: number, draws: number): number {
  let count = 0;
  for (let draw = 0; draw < draws; draw++) if (dice.split(RULE) < share) count += 1;
  return count;
}

describe("a split", () => {
  it("gives every share its part of any run of draws, to within five", () => {
    fc.assert(
      fc.property(start, start, fc.integer({ min: 1, max: 2_000 }), (seed, share, draws) => {
        const dice = diceFrom(seed);
        expect(Math.abs(below(dice, share, draws) - share * draws)).toBeLessThan(5);
      }),
    );
  });

  it("halves any hundred draws to within two", () => {
    fc.assert(
      fc.property(start, (seed) => {
        const dice = diceFrom(seed);
        expect(Math.abs(below(dice, 0.5, 100) - 50)).toBeLessThanOrEqual(2);
      }),
    );
  });

  it("begins anew once its rules are forgotten", () => {
    const dice = diceFrom(0.25);
    const first = dice.split(RULE);
    expect(dice.split(RULE)).not.toBe(first);
    dice.forget();
    expect(dice.split(RULE)).toBe(first);
  });
});
