import { describe, expect, it } from "vitest";
import type { ClusterStatus, MemberStatus, Resource, WithStatus } from "../../model/resource.ts";
import type { TrustDomain } from "../../model/spiffe-id.ts";
import { readQuestion } from "./command.ts";
import { explainWay, type Known } from "./way.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const SEEN = new Date(NOW - 1_000).toISOString();

function member(name: string, change: Partial<MemberStatus> = {}): MemberStatus {
  const role = name.startsWith("agent") ? "agent" : "gateway";
  return {
    member: name,
    role,
    version: "1",
    appliedRevision: 1,
    state: "applied",
    admin: "127.0.0.1:1",
    lastSeen: SEEN,
    listeners: [],
    tunnels: [],
    ...change,
  };
}

function cluster(name: string, members: readonly MemberStatus[], change: Partial<ClusterStatus> = {}) {
  return {
    name,
    trustDomain: `${name}.test.mesh` as TrustDomain,
    state: "joined",
    registeredAt: SEEN,
    gateways: [],
    members,
    snapshotRevision: 1,
    ...change,
  } as ClusterStatus;
}

const tunnel = (to: string, state: "up" | "down", code?: string) => ({
  cluster: to,
  address: "127.0.0.1:2",
  state,
  ...(code === undefined ? {} : { code }),
});
const LISTENER = { workload: "ns/shop/sa/web", service: "cart.shop", port: 80, address: "127.0.0.1:3" };

const IMPORT = {
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "ServiceImport",
  metadata: { cluster: "west", namespace: "shop", name: "cart" },
  spec: { from: { cluster: "east" } },
  status: { conditions: [] },
} as const;
const EXPORT = {
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "ServiceExport",
  metadata: { cluster: "east", namespace: "shop", name: "cart" },
  spec: { consumers: [{ cluster: "west", workloads: ["ns/shop/sa/web"] }] },
  status: { conditions: [] },
} as const;

function known(change: Partial<Known> = {}): Known {
  return {
    now: NOW,
    clusters: [
      cluster("west", [
        member("gateway-1", { tunnels: [tunnel("east", "up")] }),
        member("agent-1", { tunnels: [tunnel("west", "up")], listeners: [LISTENER] }),
      ]),
      cluster("east", [member("gateway-1")]),
    ],
    resources: [IMPORT, EXPORT] as readonly WithStatus<Resource>[],
    ...change,
  };
}

const explain = (from: string, world: Known) => {
  const question = readQuestion(from, "cart.shop");
  if (question === undefined) throw new Error("no question");
  return explainWay(question, world);
};
const WEB = "west/ns/shop/sa/web";

describe("the way of a call", () => {
  it("leads to a probe when every step is right", () => {
    const { steps, probe } = explain(WEB, known());
    expect(steps.map(({ status }) => status)).toEqual(steps.map(() => "ok"));
    expect(probe).toMatchObject({ member: "agent-1", workload: "ns/shop/sa/web", service: "cart.shop" });
  });

  const east = cluster("east", [member("gateway-1")]);
  const west = (...members: readonly MemberStatus[]) => [cluster("west", members), east];
  it.each<[string, string, Partial<Known>, string]>([
    ["the cluster is unknown", "north/ns/shop/sa/web", {}, "cluster north has joined"],
    ["nothing of the cluster reports", WEB, { clusters: west() }, "a gateway or agent of west reports"],
    [
      "a member refused its snapshot",
      WEB,
      { clusters: west(member("gateway-1", { state: "refused", code: "ISTH-1061" })) },
      "gateway-1 applies what the registry says",
    ],
    [
      "the service is not imported",
      WEB,
      { resources: [EXPORT] as readonly WithStatus<Resource>[] },
      "west imports cart.shop",
    ],
    [
      "the owner does not export it",
      WEB,
      { resources: [IMPORT] as readonly WithStatus<Resource>[] },
      "east exports cart.shop to west",
    ],
    ["the owner does not permit the caller", "west/shop/batch", {}, "east permits ns/shop/sa/batch"],
    [
      "the tunnel is down",
      WEB,
      {
        clusters: west(
          member("gateway-1", { tunnels: [tunnel("east", "down", "ISTH-1003")], listeners: [LISTENER] }),
        ),
      },
      "gateway-1 has a tunnel to east",
    ],
    [
      "the workload has no address",
      WEB,
      { clusters: west(member("gateway-1", { tunnels: [tunnel("east", "up")] })) },
      "ns/shop/sa/web has an address for cart.shop",
    ],
  ])("ends where %s, with a code and a fix", (_, from, change, name) => {
    const { steps, probe } = explain(from, known(change));
    const last = steps.at(-1);
    expect(last).toMatchObject({ name, status: "failed" });
    expect(last?.code).toMatch(/^ISTH-\d{4}$/);
    expect(last?.fix).not.toBe("");
    expect(probe).toBeUndefined();
  });
});

describe("readQuestion", () => {
  it.each([["west/shop/web"], ["west/ns/shop/sa/web"]])("reads %s", (from) => {
    expect(readQuestion(from, "cart.shop")).toEqual({
      cluster: "west",
      namespace: "shop",
      account: "web",
      service: { namespace: "shop", name: "cart" },
    });
  });

  it.each([["web"], ["west/web"], ["west/shop/web/x"], [""]])("does not read %j", (from) => {
    expect(readQuestion(from, "cart.shop")).toBeUndefined();
  });
});
