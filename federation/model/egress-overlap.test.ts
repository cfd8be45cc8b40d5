import { describe, expect, it } from "vitest";
import { findOverlaps, type NamedPolicy } from "./egress-overlap.ts";
import type { EgressPolicySpec } from "./egress-policy.ts";

const named = (name: string, hostname: string, change: Partial<EgressPolicySpec> = {}): NamedPolicy => ({
  name,
  spec: { mode: "enforce", from: [{ workload: "ns/shop/sa/web" }], to: [{ hostname }], ...change },
});

describe("overlapping policies", () => {
  it.each([
    [
      "the same name",
      named("a", "api.example.com"),
      named("b", "api.example.com"),
      "a",
      "its name comes first",
    ],
    [
      "a wildcard over it",
      named("a", "*.example.com"),
      named("b", "api.example.com"),
      "b",
      "destination more narrowly",
    ],
    [
      "a wider wildcard",
      named("a", "*.a.example.com"),
      named("b", "*.example.com"),
      "a",
      "destination more narrowly",
    ],
    [
      "a priority",
      named("a", "api.example.com"),
      named("b", "*.example.com", { priority: 5 }),
      "b",
      "priority 5 before 0",
    ],
    [
      "a wider caller",
      named("a", "api.example.com", { from: [{ namespace: "shop" }] }),
      named("b", "api.example.com"),
      "b",
      "caller more narrowly",
    ],
    [
      "ranges",
      named("a", "x.example.com", { to: [{ cidr: "10.0.0.0/8" }] }),
      named("b", "x.example.com", { to: [{ cidr: "10.1.0.0/16" }] }),
      "b",
      "narrowly",
    ],
  ])("%s: reported with both names and who wins, in either order", (_what, a, b, winner, reason) => {
    for (const list of [
      [a, b],
      [b, a],
    ]) {
      const found = findOverlaps(list);
      expect([...found.keys()].sort()).toEqual(["a", "b"]);
      expect(found.get("a")).toEqual(found.get("b"));
      expect(found.get("a")?.[0]).toMatchObject({ winner, loser: winner === "a" ? "b" : "a" });
      expect(found.get("a")?.[0]?.reason).toContain(reason);
    }
  });

  it("names the settings that differ", () => {
    const found = findOverlaps([
      named("a", "api.example.com", { tls: { mode: "originate" } }),
      named("b", "api.example.com", { timeouts: { connect: "1s" } }),
    ]);
    expect(found.get("a")?.[0]?.differing).toEqual(["tls", "timeouts", "protocol"]);
  });

  it.each([
    ["other callers", named("b", "api.example.com", { from: [{ workload: "ns/shop/sa/batch" }] })],
    ["other ports", named("b", "api.example.com", { to: [{ hostname: "api.example.com", ports: [80] }] })],
    ["another mode", named("b", "api.example.com", { mode: "observe" })],
    ["a sibling", named("b", "www.example.com")],
    ["a name that only ends alike", named("b", "*.xample.com")],
  ])("do not arise from %s", (_what, other) => {
    expect(findOverlaps([named("a", "api.example.com"), other]).size).toBe(0);
  });

  it("are found among 5,000 policies without comparing all with all", () => {
    const many = Array.from({ length: 5_000 }, (_, index) =>
      named(`p${index}`, index % 2 === 0 ? "api.example.com" : `h${index}.example.com`),
    );
    expect(findOverlaps(many).get("p0")?.length).toBeGreaterThan(0);
  });
});
