import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Bag } from "./bag.ts";

const item = () => ({ bagSlot: -1 });

describe("a bag", () => {
  it("holds what a set would hold, whatever is put in and taken out", () => {
    const items = Array.from({ length: 8 }, item);
    const change = fc.record({ at: fc.nat(7), add: fc.boolean() });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 60 }), (changes) => {
        const bag = new Bag<{ bagSlot: number }>();
        const set = new Set<{ bagSlot: number }>();
        for (const { at, add } of changes) {
          const one = items[at] ?? item();
          if (add) bag.add(one);
          else bag.delete(one);
          if (add) set.add(one);
          else set.delete(one);
          expect(bag.size).toBe(set.size);
          expect(new Set(bag.all())).toEqual(set);
        }
        for (const one of bag.all()) bag.delete(one);
        expect(bag.size).toBe(0);
        expect(items.every(({ bagSlot }) => bagSlot === -1)).toBe(true);
      }),
    );
  });

  it("leaves alone what is in another bag", () => {
    const [one, other] = [new Bag<{ bagSlot: number }>(), new Bag<{ bagSlot: number }>()];
    const it = item();
    one.add(it);
    other.delete(it);
    expect([one.size, other.size, it.bagSlot]).toEqual([1, 0, 0]);
  });
});
