import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byPrecedence, mergeSources, type ServiceSource, sharedPorts } from "./merge.ts";
import type { Desired } from "./objects.ts";
import { type Current, holdsNewer, plan } from "./plan.ts";
import { SERVICES } from "../api/resource-type.ts";
import { EntryPorts, FIRST_ENTRY_PORT, LAST_ENTRY_PORT } from "./ports.ts";

const source: fc.Arbitrary<ServiceSource> = fc
  .record({
    cluster: fc.constantFrom("east", "north", "west"),
    firstSeen: fc.constantFrom("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
    headless: fc.boolean(),
    ports: fc.uniqueArray(
      fc.record({ port: fc.constantFrom(80, 81, 82), name: fc.constantFrom("a", "b", "c") }),
      {
        selector: ({ port }) => port,
        maxLength: 3,
      },
    ),
  })
  .map(({ cluster, firstSeen, headless, ports }) => ({
    cluster,
    firstSeen,
    ports: ports.map(({ port }) => ({ port, protocol: "tcp" })),
    properties: { ports, ...(headless ? { headless } : {}) },
  }));
const sources = fc.uniqueArray(source, { selector: ({ cluster }) => cluster, minLength: 1, maxLength: 3 });

describe("merging the exports of a service", () => {
  it("does not depend on the order in which they came", () => {
    fc.assert(
      fc.property(sources, (given) => {
        expect(mergeSources([...given].reverse())).toEqual(mergeSources(given));
      }),
    );
  });

  it("has no port number and no port name twice, and the oldest export's kind", () => {
    fc.assert(
      fc.property(sources, (given) => {
        const { ports, properties } = mergeSources(given);
        expect(new Set(ports.map(({ port }) => port)).size).toBe(ports.length);
        expect(new Set(ports.map(({ name }) => name)).size).toBe(ports.length);
        expect(properties.headless).toBe(byPrecedence(given)[0]?.properties.headless);
      }),
    );
  });

  it("sends traffic for a port only to exports that have just this port, and tells of every difference", () => {
    fc.assert(
      fc.property(sources, (given) => {
        const merged = mergeSources(given);
        for (const each of given) {
          const shared = sharedPorts(merged, each);
          for (const { port } of shared) expect(each.ports.some((own) => own.port === port)).toBe(true);
          if (shared.length < merged.ports.length) expect(merged.conflicts).toContain("PortConflict");
        }
      }),
    );
  });
});

const AT_1 = { complete: true, revision: 1 };
const object = (name: string, port: number): Desired => ({
  type: SERVICES,
  object: { metadata: { namespace: "shop", name }, spec: { ports: [{ port }] } },
});
const desired = fc.uniqueArray(
  fc.record({ name: fc.constantFrom("a", "b", "c"), port: fc.constantFrom(80, 81) }),
  {
    selector: ({ name }) => name,
  },
);

/** What an API server has after the changes. */
function applied(current: readonly Current[], changes: ReturnType<typeof plan>): readonly Current[] {
  const there = new Map(current.map((each) => [each.object.metadata.name, each]));
  for (const change of changes) {
    if (change.kind === "delete") there.delete(change.name);
    else there.set(change.object.metadata.name, { type: change.type, object: change.object });
  }
  return [...there.values()];
}

describe("planning changes", () => {
  it("leads from any state to the desired one, where it has nothing left to say", () => {
    fc.assert(
      fc.property(desired, desired, (before, after) => {
        const from = applied(
          [],
          plan(
            before.map(({ name, port }) => object(name, port)),
            [],
            AT_1,
          ),
        );
        const wanted = after.map(({ name, port }) => object(name, port));
        const there = applied(from, plan(wanted, from, AT_1));
        expect(there.map(({ object: { metadata } }) => metadata.name).sort()).toEqual(
          after.map(({ name }) => name).sort(),
        );
        expect(plan(wanted, there, AT_1)).toEqual([]);
      }),
    );
  });

  it("deletes nothing from incomplete knowledge", () => {
    fc.assert(
      fc.property(desired, desired, (before, after) => {
        const from = applied(
          [],
          plan(
            before.map(({ name, port }) => object(name, port)),
            [],
            AT_1,
          ),
        );
        const changes = plan(
          after.map(({ name, port }) => object(name, port)),
          from,
          { complete: false, revision: 1 },
        );
        expect(changes.filter(({ kind }) => kind === "delete")).toEqual([]);
      }),
    );
  });

  it("deletes nothing that was made for a newer snapshot than its own, and all of it for that one", () => {
    const at = (revision: number) => ({ complete: true, revision });
    const older = applied([], plan([object("a", 80)], [], at(6)));
    const both = applied(older, plan([object("a", 80), object("b", 80)], older, at(8)));
    const deleted = (revision: number) =>
      plan([], both, at(revision)).map((change) => change.kind === "delete" && change.name);
    expect([5, 6, 7, 8].map(deleted)).toEqual([[], ["a"], ["a"], ["a", "b"]]);
    expect([7, 8].map((revision) => holdsNewer(both, revision))).toEqual([true, false]);
    // What it was made for stays, whoever writes it later.
    expect(plan([object("a", 80), object("b", 80)], both, at(9))).toEqual([]);
  });
});

describe("entry ports", () => {
  it("are given once, kept, and learned back by a successor", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }), { maxLength: 200 }), (names) => {
        const first = new EntryPorts();
        const given = names.map((name) => first.of(`shop/${name}:80`));
        expect(new Set(given).size).toBe(names.length);
        for (const port of given) expect(port >= FIRST_ENTRY_PORT && port <= LAST_ENTRY_PORT).toBe(true);
        const second = new EntryPorts();
        names.forEach((name, index) => second.learn(`shop/${name}:80`, given[index] ?? 0));
        expect(names.map((name) => second.of(`shop/${name}:80`))).toEqual(given);
      }),
      { numRuns: 30 },
    );
  });
});
