import { describe, expect, it } from "vitest";
import { readFederation } from "../input/federation-file.ts";
import { planFederation, portsNeeded } from "./plan.ts";
import { importAddresses, missingAcknowledgements, missingProcesses } from "./readiness.ts";

const FILE = `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: demo.mesh }
spec:
  clusters:
    - name: east
      agents: false
      gateways: 2
      workloads:
        - namespace: shop
          name: cart
          services:
            - { name: cart, port: 80, protocol: http, endpoints: ["127.0.0.1:9003"] }
            - { name: cart, port: 81, protocol: tcp, endpoints: ["127.0.0.1:9004"] }
    - name: west
      agentReplicas: 2
      workloads: [{ namespace: shop, name: web }, { namespace: shop, name: web-2, serviceAccount: web }]
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceExport
metadata: { cluster: east, namespace: shop, name: cart }
spec: { consumers: [{ cluster: west }] }
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: west, namespace: shop, name: basket }
spec: { from: { cluster: east, name: cart } }
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: east, namespace: shop, name: nothing }
spec: { from: { cluster: west } }
`;

function plan(text = FILE) {
  const { content, mistakes } = readFederation("f.yaml", text);
  if (content === undefined) throw new Error(JSON.stringify(mistakes));
  const { federation, resources } = content;
  const ports = Array.from({ length: portsNeeded(federation) }, (_, index) => 20_000 + index);
  return planFederation(federation, resources, "/state", ports);
}

describe("planning a federation", () => {
  it("starts a registry and every cluster's gateways and agents, each on a port of its own", () => {
    const { registry, clusters } = plan();
    const processes = [registry, ...clusters.flatMap((cluster) => cluster.processes)];
    expect(processes.map(({ name, env }) => [name, env["ISTHMUS_LISTEN"]])).toEqual([
      ["registry", "127.0.0.1:20000"],
      ["east-gateway-1", "127.0.0.1:20001"],
      ["east-gateway-2", "127.0.0.1:20002"],
      ["west-gateway-1", "127.0.0.1:20003"],
      ["west-agent-1", "127.0.0.1:20004"],
      ["west-agent-2", "127.0.0.1:20005"],
    ]);
  });

  it("lets the gateways serve workloads where there are no agents", () => {
    const [east, west] = plan().clusters;
    expect(east?.services.spec).toMatchObject({
      gateways: ["127.0.0.1:20001", "127.0.0.1:20002"],
      agents: [],
    });
    expect(east?.processes.map(({ servesWorkloads }) => servesWorkloads)).toEqual([true, true]);
    expect(west?.processes.map(({ servesWorkloads }) => servesWorkloads)).toEqual([false, true, true]);
  });

  it("keeps the registry's port when the file names one", () => {
    const text = FILE.replace("spec:\n", 'spec:\n  registry: { listen: "0.0.0.0:7070" }\n');
    const { registry, registryUrl } = plan(text);
    expect(registry.env["ISTHMUS_LISTEN"]).toBe("0.0.0.0:7070");
    expect(registryUrl).toBe("http://127.0.0.1:7070");
  });

  it("expects an address per workload, service and port, for imports that somebody exports", () => {
    expect(plan().imports).toEqual([
      { cluster: "west", workload: "ns/shop/sa/web", service: "basket.shop", port: 80 },
      { cluster: "west", workload: "ns/shop/sa/web", service: "basket.shop", port: 81 },
    ]);
  });
});

describe("knowing when a federation is ready", () => {
  const { clusters, imports } = plan();
  const [, west] = clusters;
  const [gateway, agent1, agent2] = west?.processes ?? [];
  if (gateway === undefined || agent1 === undefined || agent2 === undefined) throw new Error("no processes");
  const listeners = imports.map(({ workload, service, port }) => ({
    workload,
    service,
    port,
    address: `127.0.0.1:${18_000 + port}`,
  }));
  const serving = (spec: typeof gateway, own: typeof listeners) => ({
    spec,
    running: true,
    listeners: own,
    failures: [],
  });

  it("waits for every process, and for every import's address in each process that serves workloads", () => {
    const views = [
      { ...serving(gateway, []), running: false },
      serving(agent1, listeners),
      serving(agent2, listeners.slice(0, 1)),
    ];
    expect(missingProcesses(views, imports)).toEqual([
      "west-gateway-1 is not ready",
      "west-agent-2 has no address for ns/shop/sa/web to basket.shop:81",
    ]);
  });

  it("says why an address is not there, where the process told it", () => {
    const [workload, service] = ["ns/shop/sa/web", "basket.shop"];
    const detail = "another program listens on 127.0.0.1:15100";
    const failures = [{ workload, service, port: 81, code: "ISTH-6003", detail }];
    const views = [{ ...serving(agent1, listeners.slice(0, 1)), failures }];
    expect(missingProcesses(views, imports)).toEqual([
      "west-agent-1 has no address for ns/shop/sa/web to basket.shop:81 (ISTH-6003: another program listens on 127.0.0.1:15100)",
    ]);
  });

  it("tells the addresses once they are there", () => {
    const views = [serving(gateway, []), serving(agent1, listeners), serving(agent2, listeners)];
    expect(missingProcesses(views, imports)).toEqual([]);
    expect(importAddresses(views, imports).map(({ address }) => address)).toEqual([
      "127.0.0.1:18080",
      "127.0.0.1:18081",
    ]);
  });

  it("waits until every member acknowledged the newest snapshot and has the tunnels that calls need", () => {
    const tunnel = (state: "up" | "connecting") => ({ cluster: "west", address: "127.0.0.1:1", state });
    const member = { role: "agent", version: "0", lastSeen: "", listeners: [], tunnels: [] } as const;
    const status = {
      name: "west",
      trustDomain: "west.demo.mesh" as never,
      state: "joined",
      registeredAt: "",
      gateways: [],
      snapshotRevision: 5,
      members: [
        { ...member, member: "agent-1", appliedRevision: 5, state: "applied", tunnels: [tunnel("up")] },
        { ...member, member: "agent-2", appliedRevision: 4, state: "applied" },
      ],
    } as const;
    expect(missingAcknowledgements([gateway, agent1, agent2], [status])).toEqual([
      "west-gateway-1 has not reported to the registry",
      "west-agent-2 applied revision 4, not 5 yet",
    ]);
    const current = { ...member, appliedRevision: 5, state: "applied" } as const;
    const members = [
      { ...current, member: "gateway-1", tunnels: [tunnel("up")] },
      { ...current, member: "agent-1", tunnels: [tunnel("connecting"), tunnel("up")] },
      { ...current, member: "agent-2", tunnels: [tunnel("connecting")] },
    ];
    expect(missingAcknowledgements([gateway, agent1, agent2], [{ ...status, members }])).toEqual([
      "west-gateway-1 has no tunnel to east yet",
      "west-agent-2 has no tunnel to west yet",
    ]);
  });
});
