import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashText, pickByKey } from "./rendezvous.ts";

const names = (count: number) => Array.from({ length: count }, (_, index) => `10.0.0.${index + 1}:8080`);
const keys = Array.from({ length: 2_000 }, (_, index) => `user-${index}`);
const pick = (candidates: readonly string[], key: string) => pickByKey(candidates, (name) => name, key);

describe("pickByKey", () => {
  it("finds nothing in an empty list", () => {
    expect(pick([], "a")).toBeUndefined();
  });

  it("does not depend on the order of the candidates", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string(), { minLength: 1, maxLength: 12 }),
        fc.string(),
        (candidates, key) => {
          expect(pick(candidates.toReversed(), key)).toBe(pick(candidates, key));
        },
      ),
    );
  });

  it("moves only the keys of the candidate that goes", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string(), { minLength: 2, maxLength: 12 }),
        fc.nat(),
        fc.string(),
        (all, at, key) => {
          const gone = all[at % all.length];
          const before = pick(all, key);
          const after = pick(
            all.filter((name) => name !== gone),
            key,
          );
          if (before === gone) expect(after).not.toBe(gone);
          else expect(after).toBe(before);
        },
      ),
    );
  });

  it("spreads keys evenly, and a newcomer takes its part from all", () => {
    const counts = new Map<string, number>();
    for (const key of keys) {
      const name = pick(names(5), key) ?? "";
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    for (const count of counts.values()) expect(Math.abs(count - 400)).toBeLessThan(80);
    const moved = keys.filter((key) => pick(names(6), key) !== pick(names(5), key));
    expect(Math.abs(moved.length - 2_000 / 6)).toBeLessThan(70);
    expect(new Set(moved.map((key) => pick(names(6), key)))).toEqual(new Set(["10.0.0.6:8080"]));
  });
});

describe("hashText", () => {
  it("is the same for ever: sessions and leaders depend on it across versions", () => {
    expect([
      hashText(""),
      hashText("a"),
      hashText("cart.shop"),
      hashText("cart.shop", 7),
    ]).toMatchInlineSnapshot(`
      [
        2872998923,
        444641715,
        720369937,
        3842215488,
      ]
    `);
  });
});
