import fc from "fast-check";
import { expect, test } from "vitest";
import { SeenNames } from "./seen-names.ts";

test("says of each name when it came first, and leaves earlier values as they were", () => {
  const entry = fc.tuple(fc.string({ maxLength: 3 }), fc.string({ minLength: 1 }));
  fc.assert(
    fc.property(fc.array(fc.array(entry)), (batches) => {
      const expected = new Map<string, string>();
      let seen = SeenNames.none;
      for (const batch of batches) {
        const before = seen;
        const known = [...before.entries()].sort();
        seen = seen.with(batch);
        for (const [key, time] of batch) if (!expected.has(key)) expected.set(key, time);
        expect([...before.entries()].sort()).toEqual(known);
      }
      expect([...seen.entries()].sort()).toEqual([...expected].sort());
      for (const [key, time] of expected) expect(seen.get(key)).toBe(time);
    }),
  );
});
