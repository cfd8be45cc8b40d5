import fc from "fast-check";
import { expect, it } from "vitest";
import { ByteQueue } from "./byte-queue.ts";

it("gives back what was put in, in order, however it is put in and taken out", () => {
  const step = fc.record({
    put: fc.integer({ min: 0, max: 90_000 }),
    take: fc.integer({ min: 1, max: 90_000 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const queue = new ByteQueue();
      let put = 0;
      let taken = 0;
      for (const { put: count, take } of steps) {
        const bytes = Buffer.alloc(count);
        for (let at = 0; at < count; at++) bytes[at] = (put + at) % 251;
        queue.push(bytes, 0, count);
        put += count;
        bytes.fill(0xff);
        const { first } = queue;
        if (first === undefined) continue;
        const octets = Math.min(take, first.end - first.start);
        for (let at = 0; at < octets; at += 97)
          expect(first.bytes[first.start + at]).toBe((taken + at) % 251);
        queue.shift(octets);
        taken += octets;
        expect(queue.length).toBe(put - taken);
      }
    }),
    { numRuns: 50 },
  );
});
