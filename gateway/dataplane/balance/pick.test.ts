import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { pickLeastLoaded, pickPacked } from "./pick.ts";

const loads = (...streams: readonly number[]) => streams.map((count, index) => ({ index, streams: count }));

const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });

describe("pickLeastLoaded", () => {
  it("finds nothing in an empty list", () => {
    expect(pickLeastLoaded([], 0.5)).toBeUndefined();
  });

  it("takes the only one, whatever its load", () => {
    expect(pickLeastLoaded(loads(1_000), 0.999)?.index).toBe(0);
  });

  it.each([0, 0.25, 0.5, 0.75, 0.999])(
    "takes the less loaded of two, wherever the draw %d begins",
    (draw) => {
      expect(pickLeastLoaded(loads(5, 2), draw)?.index).toBe(1);
      expect(pickLeastLoaded(loads(2, 5), draw)?.index).toBe(0);
    },
  );

  it("settles a tie by the draw, so that equals share", () => {
    expect(pickLeastLoaded(loads(3, 3), 0)?.index).toBe(0);
    expect(pickLeastLoaded(loads(3, 3), 0.6)?.index).toBe(1);
  });

  it("always finds one of the list", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { minLength: 1, maxLength: 20 }), random, (streams, draw) => {
        const list = loads(...streams);
        expect(list).toContain(pickLeastLoaded(list, draw));
      }),
    );
  });

  it("never takes the single most loaded one of several", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 9 }), { minLength: 2, maxLength: 20 }),
        random,
        fc.nat(),
        (streams, draw, at) => {
          const list = loads(...streams.toSpliced(at % streams.length, 1, 10));
          expect(pickLeastLoaded(list, draw)?.streams).not.toBe(10);
        },
      ),
    );
  });

  it("spreads equal loads evenly", () => {
    const list = loads(0, 0, 0, 0);
    const counts = [0, 0, 0, 0];
    for (let step = 0; step < 1_000; step++) {
      const picked = pickLeastLoaded(list, step / 1_000);
      if (picked !== undefined) counts[picked.index] = (counts[picked.index] ?? 0) + 1;
    }
    expect(counts).toEqual([250, 250, 250, 250]);
  });
});

describe("pickPacked", () => {
  it("finds nothing in an empty list", () => {
    expect(pickPacked([], 128)).toBeUndefined();
  });

  it("fills the first before it begins the next", () => {
    expect(pickPacked(loads(127, 0), 128)?.index).toBe(0);
    expect(pickPacked(loads(128, 0), 128)?.index).toBe(1);
  });

  it("takes the least loaded when all are full, the first of equals", () => {
    expect(pickPacked(loads(300, 200, 200), 128)?.index).toBe(1);
  });
});
