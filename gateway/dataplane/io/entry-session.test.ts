import { describe, expect, it } from "vitest";
import type { Snapshot, SnapshotBackend } from "../../../federation/model/snapshot.ts";
import type { TrustDomain } from "../../../federation/model/spiffe-id.ts";
import type { SnapshotRouteBackend } from "../../../federation/model/traffic-route.ts";
import { BACKEND, viewOf } from "../../../test/fakes/guarded-entry.ts";
import { entryEnvironment } from "../../../test/fakes/entry-environment.ts";
import { CART, id, importRule, westTables } from "../../../test/fakes/rules.ts";
import { opaqueName } from "../balance/session-token.ts";
import { createWatch } from "../lifecycle/watch.ts";
import { Entry } from "./entry.ts";

const FIRST = opaqueName("10.0.0.1:80");
const cookie = { type: "Cookie", name: "s", permanent: false } as const;
const header = { type: "Header", name: "X-Session", permanent: false } as const;

interface Scene {
  readonly backends: readonly Omit<SnapshotRouteBackend, "namespace" | "name">[];
  readonly policy?: Partial<SnapshotBackend>;
}

/** West's web on its way to versions v1 and v2 of cart.shop, which east and north have. */
function entryOf({ backends, policy = { session: cookie } }: Scene): Entry {
  const imports = ["east", "north"].map((cluster) =>
    importRule({
      from: { ...CART, cluster, trustDomain: `${cluster}.test.mesh` as TrustDomain },
      versions: ["v1", "v2"],
    }),
  );
  const routes: Snapshot["routes"] = [
    {
      cluster: "west",
      namespace: "shop",
      name: "split",
      firstSeen: "2026-01-01T00:00:00Z",
      mode: "enforce",
      parents: [CART],
      rules: [{ backendRefs: backends.map((backend) => ({ ...CART, ...backend })) }],
    },
  ];
  const rules = { rateLimits: [], backends: [{ ...BACKEND, ...policy }], rollouts: [] };
  const tables = createWatch(westTables({ imports, routes, rules }));
  return new Entry({ caller: id("west/shop/web"), service: CART, port: 80 }, entryEnvironment({ tables }));
}

function goes(entry: Entry, fields: Readonly<Record<string, string>> = {}): string {
  const decision = entry.decide(viewOf(fields));
  if (decision.kind !== "forward") return decision.kind;
  const { destination, version, endpoint } = decision.target;
  return [destination.split(".")[0], version, endpoint].filter((part) => part !== undefined).join(" ");
}

const often = (entry: Entry, fields?: Readonly<Record<string, string>>): ReadonlySet<string> =>
  new Set(Array.from({ length: 50 }, () => goes(entry, fields)));

/** What the client of a session sends, begun at the epoch. */
const brought = (cluster: string, version?: string) => {
  const token = `${opaqueName(`${cluster}.test.mesh`)}.${FIRST}.0`;
  return { cookie: `s=${version === undefined ? token : `${token}.${opaqueName(version)}`}` };
};

const v1 = { version: "v1", weight: 90 };
const v2 = { version: "v2", weight: 10 };

describe("a session and a split between versions", () => {
  it("keeps to its version, however little of the rest that gets", () => {
    const entry = entryOf({ backends: [v1, v2] });
    expect(often(entry, brought("east", "v1"))).toEqual(new Set([`east v1 ${FIRST}`]));
    expect(often(entry, brought("east", "v2"))).toEqual(new Set([`east v2 ${FIRST}`]));
    expect(often(entry, brought("north", "v2"))).toEqual(new Set([`north v2 ${FIRST}`]));
    expect([...often(entry)].map((place) => place.split(" ")[1]).toSorted()).toEqual(["v1", "v2"]);
  });

  it("ends when its version gets nothing any more, or the rule has none such", () => {
    const done = entryOf({ backends: [{ ...v1, weight: 0 }, v2] });
    expect([...often(done, brought("east", "v1"))].every((place) => place.includes(" v2"))).toBe(true);
    const only = entryOf({ backends: [v2] });
    expect([...often(only, brought("north", "v1"))].every((place) => place.includes(" v2"))).toBe(true);
  });

  it("keeps to its version where its cluster has gone", () => {
    const entry = entryOf({ backends: [v1, v2] });
    expect([...often(entry, brought("south", "v2"))].every((place) => place.includes(" v2"))).toBe(true);
  });

  it("keeps to its cluster where the rule splits between clusters", () => {
    const entry = entryOf({
      backends: [
        { cluster: "east", weight: 90 },
        { cluster: "north", weight: 10 },
      ],
    });
    expect(often(entry, brought("north"))).toEqual(new Set([`north ${FIRST}`]));
    const done = entryOf({ backends: [{ cluster: "east" }, { cluster: "north", weight: 0 }] });
    expect(often(done, brought("north"))).toEqual(new Set(["east"]));
  });

  it("of a value that the client chose keeps to one version, as the weights say", () => {
    const entry = entryOf({ backends: [v1, v2], policy: { session: header } });
    const versions = Array.from({ length: 500 }, (_, at) => {
      const places = [...often(entry, { "x-session": `u${at}` })];
      const [version, ...others] = new Set(places.map((place) => place.split(" ")[1]));
      expect(others).toEqual([]);
      return version;
    });
    expect(Math.abs(versions.filter((version) => version === "v2").length - 50)).toBeLessThan(25);
  });

  it("is nothing where the rule only observes", () => {
    const entry = entryOf({ backends: [v1, v2], policy: { session: cookie, mode: "observe" } });
    expect(often(entry, brought("east", "v2")).size).toBeGreaterThan(1);
  });

  it("does not change the shares of those without one", () => {
    const entry = entryOf({ backends: [v1, v2] });
    let canary = 0;
    for (let at = 0; at < 1_000; at++) {
      goes(entry, brought("east", "v2"));
      if (goes(entry).includes(" v2")) canary += 1;
    }
    expect(Math.abs(canary - 100)).toBeLessThan(5);
  });
});
