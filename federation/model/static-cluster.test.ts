import { describe, expect, it } from "vitest";
import { servicesOf, type StaticCluster, type StaticService, staticWorkloadName } from "./static-cluster.ts";

function cluster(
  ...workloads: { namespace: string; name: string; services: StaticService[] }[]
): StaticCluster {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "StaticCluster",
    metadata: { name: "east" },
    spec: {
      gateways: [],
      agents: [],
      workloads: workloads.map((workload) => ({ ...workload, serviceAccount: `${workload.name}-account` })),
    },
  };
}

const service = (name: string, port: number): StaticService => ({
  name,
  port,
  protocol: "http",
  endpoints: ["127.0.0.1:1"],
});

describe("servicesOf", () => {
  it("gathers the ports of a service over entries and workloads, without endpoints, in a stable order", () => {
    const first = { namespace: "shop", name: "a", services: [service("cart", 443), service("api", 1)] };
    const second = { namespace: "shop", name: "b", services: [service("cart", 80), service("cart", 443)] };
    const other = { namespace: "pay", name: "c", services: [service("cart", 80)] };
    const expected = [
      { namespace: "pay", name: "cart", ports: [{ port: 80, protocol: "http" }] },
      { namespace: "shop", name: "api", ports: [{ port: 1, protocol: "http" }] },
      {
        namespace: "shop",
        name: "cart",
        ports: [
          { port: 80, protocol: "http" },
          { port: 443, protocol: "http" },
        ],
      },
    ];
    expect(servicesOf(cluster(first, second, other))).toEqual(expected);
    expect(servicesOf(cluster(other, second, first))).toEqual(expected);
  });
});

describe("staticWorkloadName", () => {
  it("is made of the namespace and the service account", () => {
    const [workload] = cluster({ namespace: "shop", name: "web", services: [] }).spec.workloads;
    expect(workload && staticWorkloadName(workload)).toBe("ns/shop/sa/web-account");
  });
});
