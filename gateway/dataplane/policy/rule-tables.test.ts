import { describe, expect, it } from "vitest";
import { id, westSnapshot } from "../../../test/fakes/rules.ts";
import type { SnapshotRateLimit, SnapshotRules } from "../../../federation/model/snapshot.ts";
import { compileRuleTables, limitApplies, limitsOf, ruleFor } from "./rule-tables.ts";

const service = { namespace: "shop", name: "cart" };
const LIMIT: SnapshotRateLimit = {
  name: "west/shop/limit",
  service,
  from: [],
  requests: 100,
  unitMs: 1_000,
  burst: 5,
  scope: "Shared",
  mode: "enforce",
};

function rulesOf(rules: Partial<SnapshotRules>) {
  const snapshot = { ...westSnapshot(), rules: { rateLimits: [], backends: [], rollouts: [], ...rules } };
  const found = compileRuleTables(snapshot).get("cart.shop");
  if (found === undefined) throw new Error("no rules");
  return found;
}

describe("rule tables", () => {
  it("are empty without rules", () => {
    expect(compileRuleTables(westSnapshot()).size).toBe(0);
  });

  it("keep only the limits that can concern a caller", () => {
    const byWorkload = { ...LIMIT, name: "a", from: [{ workload: "ns/shop/sa/web" }] };
    const byHeader = { ...LIMIT, name: "b", from: [{ header: { name: "x-tier", value: "free" } }] };
    const both = {
      ...LIMIT,
      name: "c",
      from: [{ workload: "ns/shop/sa/batch", header: { name: "x", value: "1" } }],
    };
    const rules = rulesOf({ rateLimits: [LIMIT, byWorkload, byHeader, both] });
    const names = (uri: string) => limitsOf(rules, id(uri)).map(({ name }) => name);
    expect(names("west/shop/web")).toEqual([LIMIT.name, "a", "b"]);
    expect(names("west/shop/batch")).toEqual([LIMIT.name, "b", "c"]);
  });

  it("apply a limit by a header beyond ASCII as clients send it, in UTF-8", () => {
    const from = [{ header: { name: "x-tier", value: "größer" } }];
    const [limit] = rulesOf({ rateLimits: [{ ...LIMIT, from }] }).limits;
    if (limit === undefined) throw new Error("no limit");
    const sent = Buffer.from("größer").toString("latin1");
    expect(limitApplies(limit, "east.test.mesh", undefined, { header: () => sent })).toBe(true);
  });

  it("apply a limit by destination, version and header", () => {
    const [limit] = rulesOf({
      rateLimits: [
        { ...LIMIT, cluster: "east", version: "v2", from: [{ header: { name: "x-tier", value: "free" } }] },
      ],
    }).limits;
    if (limit === undefined) throw new Error("no limit");
    const header = (value: string) => ({
      header: (name: string) => (name === "x-tier" ? value : undefined),
    });
    expect(limitApplies(limit, "east.test.mesh", "v2", header("free"))).toBe(true);
    expect(limitApplies(limit, "north.test.mesh", "v2", header("free"))).toBe(false);
    expect(limitApplies(limit, "east.test.mesh", "v1", header("free"))).toBe(false);
    expect(limitApplies(limit, "east.test.mesh", "v2", header("paid"))).toBe(false);
  });

  it("apply a limit of no destination to all, and one of a workload to whatever it asks", () => {
    const header = { header: { name: "x-tier", value: "free" } };
    const from = [{ workload: "ns/shop/sa/web" as const }, header];
    const { limits, ...others } = rulesOf({ rateLimits: [{ ...LIMIT, from }] });
    const applies = (caller: string, tier?: string): boolean[] =>
      limitsOf({ ...others, limits }, id(caller)).map((limit) =>
        limitApplies(limit, "north.test.mesh", undefined, { header: () => tier }),
      );
    expect([
      applies("west/shop/web"),
      applies("west/shop/batch"),
      applies("west/shop/batch", "free"),
    ]).toEqual([[true], [false], [true]]);
  });

  it("leave out what no workload of a limit fits", () => {
    const rules = rulesOf({ rateLimits: [{ ...LIMIT, from: [{ workload: "ns/shop/sa/web" }] }] });
    expect(limitsOf(rules, id("west/shop/batch"))).toEqual([]);
  });

  it("bound only what a circuit names", () => {
    const circuit = { maxConnections: 1 };
    const { backends } = rulesOf({ backends: [{ name: "b", service, mode: "enforce", circuit }] });
    expect(backends[0]?.circuit).toEqual({
      maxConnections: 1,
      maxParallelRequests: Number.POSITIVE_INFINITY,
      maxPendingRequests: Number.POSITIVE_INFINITY,
    });
  });

  it("find the first policy that is about a destination", () => {
    const backend = (name: string, cluster?: string) => ({
      name,
      service,
      mode: "enforce" as const,
      ...(cluster === undefined ? {} : { cluster }),
    });
    const { backends } = rulesOf({ backends: [backend("of east", "east"), backend("of all")] });
    expect(ruleFor(backends, "east.test.mesh")?.name).toBe("of east");
    expect(ruleFor(backends, "north.test.mesh")?.name).toBe("of all");
  });
});
