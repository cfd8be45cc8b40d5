import fc from "fast-check";
import { expect, test } from "vitest";
import { SpentIds } from "./spent-ids.ts";

test("an identifier is new once", () => {
  const spent = new SpentIds();
  expect(spent.spend("a", 100, 0)).toBe(true);
  expect(spent.spend("a", 100, 50)).toBe(false);
  expect(spent.spend("b", 100, 50)).toBe(true);
});

test("none is accepted twice before its time is over, in whatever order they come", () => {
  const requests = fc.array(
    fc.record({ id: fc.integer({ max: 5, min: 0 }), after: fc.nat(40), lives: fc.nat(90) }),
  );
  fc.assert(
    fc.property(requests, (given) => {
      const spent = new SpentIds();
      const until = new Map<number, number>();
      let now = 0;
      for (const { id, after, lives } of given) {
        now += after;
        const accepted = spent.spend(String(id), now + lives, now);
        if (accepted) {
          expect(until.get(id) ?? -1).toBeLessThan(now);
          until.set(id, now + lives);
        }
      }
    }),
  );
});

test("is forgotten when its time is over, so that memory stays bounded", () => {
  const spent = new SpentIds();
  expect(spent.spend("a", 10, 0)).toBe(true);
  for (let now = 20; now < 60; now += 10) spent.spend(`other-${now}`, now + 1, now);
  expect(spent.spend("a", 100, 60)).toBe(true);
});
