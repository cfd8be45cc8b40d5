import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DynamicTable, entryBytes, type TableEntry } from "./hpack-table.ts";

/** The table as RFC 7541 §4 describes it. */
class PlainTable {
  readonly entries: TableEntry[] = [];
  readonly evicted: TableEntry[] = [];
  max: number;

  constructor(max: number) {
    this.max = max;
  }

  add(entry: TableEntry): void {
    this.resize(this.max, entryBytes(entry.name, entry.value));
    if (entryBytes(entry.name, entry.value) <= this.max) this.entries.unshift(entry);
  }

  resize(max: number, besides = 0): void {
    this.max = max;
    const size = () => this.entries.reduce((sum, { name, value }) => sum + entryBytes(name, value), besides);
    while (this.entries.length > 0 && size() > max) {
      const [oldest] = this.entries.splice(-1);
      if (oldest !== undefined) this.evicted.push(oldest);
    }
  }
}

const entry = fc
  .tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 90 }))
  .map(([name, value]) => ({ name: "n".repeat(name), value: "v".repeat(value), isLegal: true }));
const change = fc.oneof(
  { weight: 8, arbitrary: entry.map((added) => ({ added })) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 4_096 }).map((size) => ({ size })) },
);

describe("a dynamic table", () => {
  it("holds and evicts what the plain one does, whatever comes", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 4_096 }),
        fc.array(change, { minLength: 1, maxLength: 400, size: "max" }),
        (max, changes) => {
          const evicted: TableEntry[] = [];
          const table = new DynamicTable(max, (gone) => void evicted.push(gone));
          const plain = new PlainTable(max);
          for (const step of changes) {
            const before = table.generation;
            for (const one of [table, plain]) {
              if ("added" in step) one.add(step.added);
              else one.resize(step.size);
            }
            expect(table.generation).not.toBe(before);
            const held = Array.from({ length: table.length + 1 }, (_, at) => table.at(at));
            expect(held).toEqual([...plain.entries, undefined]);
          }
          expect(evicted).toEqual(plain.evicted);
        },
      ),
      { numRuns: 60, seed: 7 },
    );
  });

  it("has room for as many of the smallest entries as its size allows", () => {
    const table = new DynamicTable(4_096);
    for (let count = 0; count < 1_000; count++) table.add({ name: "", value: "", isLegal: true });
    expect(table.length).toBe(128);
  });
});
