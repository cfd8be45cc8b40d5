import fc from "fast-check";
import { expect, test } from "vitest";
import {
  acceptedKeys,
  activeKey,
  advance,
  announce,
  foundingRing,
  type Keys,
  type PublicSigningKey,
  replace,
  type RingTimes,
  verifyingKeys,
  wantsNewKey,
} from "./signing-ring.ts";

const TIMES: RingTimes = { announceMs: 10, overlapMs: 100, pastMs: 1_000, lifeMs: 5_000 };
const key = (kid: string) => ({ kid }) as PublicSigningKey;
const phases = ({ keys }: Keys) => keys.map((one) => `${one.key.kid} ${one.phase}`);
const at = (ring: Keys, now: number) => advance(ring, now, TIMES);

test("a key is announced, signs, is accepted for a while after it signed last, and goes", () => {
  const founded = foundingRing(key("a"), 0);
  expect(at(founded, 4_999)).toBe(founded);
  expect([wantsNewKey(founded, 4_999, TIMES), wantsNewKey(founded, 5_000, TIMES)]).toEqual([false, true]);
  const announced = announce(founded, key("b"), 5_000);
  expect(wantsNewKey(announced, 99_999, TIMES)).toBe(false);
  expect(at(announced, 5_009)).toBe(announced);
  expect([acceptedKeys(announced), verifyingKeys(announced)]).toEqual([[key("a"), key("b")], [key("a")]]);
  const active = at(announced, 5_010);
  expect(phases(active)).toEqual(["a retired", "b active"]);
  expect(acceptedKeys(active)).toEqual([key("a"), key("b")]);
  const withdrawn = at(active, 5_110);
  expect(phases(withdrawn)).toEqual(["a past", "b active"]);
  expect([acceptedKeys(withdrawn), verifyingKeys(withdrawn)]).toEqual([[key("b")], [key("a"), key("b")]]);
  expect(phases(at(withdrawn, 6_110))).toEqual(["b active"]);
});

test("a key that is replaced is worth nothing at once, and neither is one that was announced", () => {
  const ring = announce(foundingRing(key("a"), 0), key("b"), 1);
  expect(phases(replace(ring, key("c"), 2))).toEqual(["c active"]);
});

test("whatever happens when, one key signs, and no key signs that members were not told of in time", () => {
  const step = fc.record({ after: fc.nat(2_000), what: fc.constantFrom("time", "announce") });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      let now = 0;
      let ring = foundingRing(key("0"), now);
      const told = new Map<string, number>();
      for (const [index, { after, what }] of steps.entries()) {
        now += after;
        if (what === "time") ring = at(ring, now);
        else if (!ring.keys.some(({ phase }) => phase === "announced")) {
          ring = announce(ring, key(String(index + 1)), now);
          told.set(String(index + 1), now);
        }
        expect(ring.keys.filter(({ phase }) => phase === "active")).toHaveLength(1);
        const active = activeKey(ring);
        const since = told.get(active?.key.kid ?? "");
        if (since !== undefined && active !== undefined)
          expect(active.sinceMs - since).toBeGreaterThanOrEqual(TIMES.announceMs);
      }
    }),
  );
});
