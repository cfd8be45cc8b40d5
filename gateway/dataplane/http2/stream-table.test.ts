import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Connection } from "./connection.ts";
import { Stream, type StreamHandler } from "./stream.ts";
import { StreamTable } from "./stream-table.ts";

const stream = (id: number): Stream => new Stream(id, {} as Connection, {} as StreamHandler, 0, 0);

describe("the streams of a connection", () => {
  it("are found by their identifiers as in a map, through any order of opening and closing", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 200 }), (steps) => {
        const table = new StreamTable();
        const map = new Map<number, Stream>();
        let nextId = 1;
        for (const step of steps) {
          const doomed = step < 4 ? [...map.values()][step] : undefined;
          if (doomed === undefined) {
            const opened = stream(nextId);
            nextId += 2;
            table.add(opened);
            map.set(opened.id, opened);
          } else {
            table.delete(doomed);
            map.delete(doomed.id);
          }
        }
        expect(table.size).toBe(map.size);
        expect(table.all()).toEqual([...map.values()]);
        for (let id = 1; id < nextId; id++) expect(table.get(id)).toBe(map.get(id));
      }),
    );
  });

  it("lets go of a stream that is closed twice only once", () => {
    const table = new StreamTable();
    const [kept, closed] = [stream(1), stream(33)];
    table.add(kept);
    table.add(closed);
    table.delete(closed);
    table.delete(closed);
    expect([table.size, table.get(1), table.get(33)]).toEqual([1, kept, undefined]);
  });
});
