import { describe, expect, it } from "vitest";
import type { ClusterStatus, MemberStatus, Resource, WithStatus } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import type { TrustDomain } from "../../model/spiffe-id.ts";
import { APPLIED_KINDS } from "../../model/wire/resource.ts";
import { PLAIN } from "../output/paint.ts";
import { checkCluster } from "./cluster-checks.ts";
import { judgeProbe, planProbes, readAnswer, runProbes } from "./probes.ts";
import type { RegistryClient } from "../registry-client.ts";
import { checkRegistry } from "./registry-checks.ts";
import { renderChecks, renderShort } from "./render.ts";
import type { CheckResult } from "./result.ts";
import { checkServices } from "./service-checks.ts";
import { readShared } from "./shared-resources.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const at = (seconds: number): string => new Date(NOW + seconds * 1000).toISOString();
const DAY = 86_400;

function member(difference: Partial<MemberStatus> = {}): MemberStatus {
  return {
    member: "gateway-1",
    role: "gateway",
    version: "0.1.0",
    appliedRevision: 7,
    state: "applied",
    advertise: "127.0.0.1:15008",
    admin: "127.0.0.1:15020",
    listeners: [],
    tunnels: [],
    lastSeen: at(-2),
    ...difference,
  };
}

function cluster(difference: Partial<ClusterStatus> = {}): ClusterStatus {
  return {
    name: "east",
    trustDomain: "east.demo.mesh" as TrustDomain,
    state: "joined",
    registeredAt: at(-100),
    joinedAt: at(-90),
    caNotAfter: at(90 * DAY),
    gateways: [],
    members: [member()],
    snapshotRevision: 7,
    ...difference,
  };
}

function statuses(results: readonly CheckResult[]): Record<string, string> {
  return Object.fromEntries(results.map(({ name, status }) => [name, status]));
}

describe("checking the registry", () => {
  const answer = { url: "http://r", federation: "demo.mesh", askedAt: NOW, answeredAt: NOW + 4 };

  it.each([
    [0, "ok"],
    [-4, "ok"],
    [10, "warning"],
    [-40, "failed"],
    [3600, "failed"],
  ])("judges a clock that is %d s off as %s", (seconds, status) => {
    expect(checkRegistry({ ...answer, time: at(seconds) })[1]).toMatchObject({ status });
  });

  it("says which way the clock is off", () => {
    expect(checkRegistry({ ...answer, time: at(-3600) })[1]?.detail).toBe(
      "this machine is 1 h ahead of the registry",
    );
  });
});

describe("checking a cluster", () => {
  it("is content with one whose members are fresh and current", () => {
    expect(new Set(checkCluster(cluster(), NOW).map(({ status }) => status))).toEqual(new Set(["ok"]));
  });

  it("warns of one that never joined, with the way to a new token", () => {
    const [result] = checkCluster(cluster({ state: "pending" }), NOW);
    expect(result).toMatchObject({
      status: "warning",
      fix: expect.stringContaining("cluster register east"),
    });
  });

  it.each([
    [3 * DAY, "warning"],
    [-1, "failed"],
  ])("judges a CA with %d s left as %s", (seconds, status) => {
    expect(statuses(checkCluster(cluster({ caNotAfter: at(seconds) }), NOW))).toMatchObject({
      "its CA certificate is valid": status,
    });
  });

  it("fails for a member that stopped reporting, and for a cluster without any gateway", () => {
    const results = checkCluster(cluster({ members: [member({ lastSeen: at(-300) })] }), NOW);
    expect(statuses(results)).toMatchObject({
      "a gateway is there": "failed",
      "gateway-1 is up to date": "failed",
    });
  });

  it("fails for a member that refused its snapshot, with the reason's own fix", () => {
    const refused = member({ state: "refused", code: "ISTH-1051", appliedRevision: 6 });
    expect(checkCluster(cluster({ members: [refused] }), NOW).at(-1)).toMatchObject({
      status: "failed",
      code: "ISTH-1051",
      fix: "check that the registry URL is the one this cluster joined",
    });
  });

  it("names each tunnel that is not up, and counts those that are", () => {
    const tunnels = [
      { cluster: "west", address: "10.0.0.1:15008", state: "up" },
      { cluster: "north", address: "10.0.0.2:15008", state: "down", code: "ISTH-1003" },
      { cluster: "south", address: "10.0.0.3:15008", state: "connecting" },
    ] as const;
    expect(statuses(checkCluster(cluster({ members: [member({ tunnels })] }), NOW))).toMatchObject({
      "gateway-1 has its tunnels": "ok",
      "gateway-1 reaches north at 10.0.0.2:15008": "failed",
      "gateway-1 reaches south at 10.0.0.3:15008": "warning",
    });
  });
});

describe("checking what is shared", () => {
  const imported = (reason: string, status: "True" | "False"): WithStatus<Resource> => ({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceImport",
    metadata: { cluster: "west", namespace: "shop", name: "cart" },
    spec: { from: { cluster: "east" } },
    status: { conditions: [{ type: "Ready", status, reason, message: "because" }] },
  });

  it("is content with an import that is ready", () => {
    expect(checkServices([imported("Ready", "True")])).toMatchObject([{ status: "ok" }]);
  });

  it("gives the command that exports what an import waits for", () => {
    expect(checkServices([imported("NotExported", "False")])).toMatchObject([
      {
        status: "failed",
        code: "ISTH-2003",
        fix: "isthmus service export cart.shop --cluster east --to west",
      },
    ]);
  });

  it("only warns of an export that nobody imported yet", () => {
    const exported: WithStatus<Resource> = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "ServiceExport",
      metadata: { cluster: "east", namespace: "shop", name: "cart" },
      spec: { consumers: [{ cluster: "west" }] },
      status: {
        conditions: [
          { type: "Valid", status: "True", reason: "Valid", message: "" },
          { type: "Exported", status: "False", reason: "NotImported", message: "not imported yet by west" },
        ],
      },
    };
    expect(checkServices([exported])).toMatchObject([
      { status: "warning", fix: "isthmus service import cart.shop --from east --cluster west" },
    ]);
  });

  it("looks at every kind that people write", async () => {
    const asked: (string | undefined)[] = [];
    const list: RegistryClient["list"] = (query) => {
      asked.push(query?.kind);
      return Promise.resolve(ok({ revision: 1, items: [] }));
    };
    await readShared({ list });
    expect(asked).toEqual(expect.arrayContaining([...APPLIED_KINDS]));
  });

  it("says that nothing is shared", () => {
    expect(checkServices([])).toMatchObject([{ status: "warning" }]);
  });
});

describe("probing calls", () => {
  const listener = { workload: "ns/shop/sa/web", service: "cart.shop", port: 80, address: "127.0.0.1:1" };
  const probe = {
    cluster: "west",
    member: "agent-1",
    admin: "127.0.0.1:2",
    workload: "ns/shop/sa/web",
    service: "cart.shop",
    port: 80,
  };

  it("tries each call once, even when two agents serve it", () => {
    const members = [
      member({ member: "agent-1", listeners: [listener], admin: "127.0.0.1:2" }),
      member({ member: "agent-2", listeners: [listener] }),
      member({ member: "gone", listeners: [{ ...listener, port: 81 }], lastSeen: at(-900) }),
    ];
    expect(planProbes([cluster({ name: "west", members })], NOW)).toEqual([probe]);
  });

  it("counts a refusal by policy as the policy at work, any other as a failure", () => {
    const refused = (code: string) => judgeProbe(probe, { kind: "refused", code, detail: "no" }).status;
    expect([refused("ISTH-2001"), refused("ISTH-2002"), refused("ISTH-3003")]).toEqual([
      "ok",
      "ok",
      "failed",
    ]);
  });

  it("skips visibly what cannot be reached from here", () => {
    const result = judgeProbe(probe, { kind: "unreachable", detail: "connect ECONNREFUSED" });
    expect(result).toMatchObject({ status: "skipped", detail: expect.stringContaining("127.0.0.1:2") });
  });

  it("tries a sample of a large federation and says so", async () => {
    const many = Array.from({ length: 45 }, (_, port) => ({ ...probe, port: port + 1 }));
    const results = await runProbes(many, async () => ({ kind: "answered", latencyMs: 1 }));
    expect(results).toHaveLength(41);
    expect(results.at(-1)).toMatchObject({ status: "skipped", name: "5 more calls" });
  });

  it("does not take an answer of something else for one of ours", () => {
    expect(readAnswer({ ok: true, latencyMs: 1.5, caller: "x" })).toEqual({
      kind: "answered",
      latencyMs: 1.5,
    });
    expect(readAnswer("<html>")).toMatchObject({ kind: "unreachable" });
  });
});

describe("the report", () => {
  const results: readonly CheckResult[] = [
    { category: "registry", name: "the registry answers", status: "ok", detail: "in 2 ms" },
    {
      category: "registry",
      name: "the clocks agree",
      status: "failed",
      detail: "1 h apart",
      code: "ISTH-6006",
      fix: "ntp",
    },
    { category: "calls", name: "web calls cart", status: "skipped", detail: "not reachable" },
  ];

  it("has a mark, a line for each check and the fix below a bad one", () => {
    expect(renderChecks(results, PLAIN)).toBe(
      [
        "registry",
        "✓ the registry answers — in 2 ms",
        "× the clocks agree: 1 h apart [ISTH-6006]",
        "    fix: ntp",
        "",
        "calls",
        "– web calls cart (skipped: not reachable)",
        "",
        "× not all is well (1 ok, 1 failed, 1 skipped)",
      ].join("\n"),
    );
  });

  it("is short when asked to be: what is bad, and the verdict", () => {
    expect(renderShort(results, PLAIN)).toBe(
      [
        "× registry: the clocks agree: 1 h apart [ISTH-6006]",
        "    fix: ntp",
        "× not all is well (1 ok, 1 failed, 1 skipped)",
      ].join("\n"),
    );
  });
});
