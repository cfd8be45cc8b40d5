import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readFederation } from "../../federation/cli/input/federation-file.ts";
import type { RegistryClient } from "../../federation/cli/registry-client.ts";
import { Federation, type LaunchOptions } from "../../federation/cli/up/launch.ts";
import { planFederation, portsNeeded } from "../../federation/cli/up/plan.ts";
import type { ProcessEvent } from "../../federation/cli/up/process-slot.ts";
import type { ClusterStatus } from "../../federation/model/resource.ts";
import { alive } from "../fakes/federation.ts";
import { until } from "../fakes/until.ts";

/** A role reduced to what its supervisor sees of it; it drains until SIGUSR2. */
const STUB = `
const { ISTHMUS_MEMBER: member, ISTHMUS_FAIL: fail } = process.env;
console.error(JSON.stringify({ event: "started", member, environment: Object.keys(process.env).filter((key) => key.startsWith("ISTHMUS_")) }));
if (fail !== undefined && member === fail) {
  console.error("error[ISTH-6003]: the address is in use already\\nwhy: 127.0.0.1:1 is taken\\nfix: stop it");
  process.exit(69);
}
process.on("disconnect", () => process.exit(0));
process.on("SIGINT", () => member !== "deaf" && process.exit(0));
process.on("SIGTERM", () => process.send({ type: "draining" }));
process.on("SIGUSR2", () => process.exit(0));
process.send({ type: "ready", listen: "127.0.0.1:1", admin: "127.0.0.1:2" });
process.send({ type: "listeners", listeners: [{ workload: "ns/shop/sa/web", service: "cart.shop", port: 80, address: "127.0.0.1:3" }] });
setInterval(() => {}, 1000);
`;

const FILE = `apiVersion: isthmus.dev/v1alpha1
kind: LocalFederation
metadata: { name: demo.mesh }
spec:
  clusters:
    - name: east
      workloads: [{ namespace: shop, name: cart, services: [{ name: cart, port: 80, protocol: http, endpoints: ["127.0.0.1:1"] }] }]
    - name: west
      workloads: [{ namespace: shop, name: web }]
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceExport
metadata: { cluster: east, namespace: shop, name: cart }
spec: { consumers: [{ cluster: west }] }
---
apiVersion: isthmus.dev/v1alpha1
kind: ServiceImport
metadata: { cluster: west, namespace: shop, name: cart }
spec: { from: { cluster: east } }
`;

describe("the supervisor of a federation's processes", () => {
  let directory: string;
  let federation: Federation | undefined;
  let events: ProcessEvent[];
  const interruption = new AbortController();

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "isthmus-supervisor-"));
    events = [];
  });
  afterEach(async () => {
    await federation?.stop();
    federation = undefined;
    rmSync(directory, { recursive: true, force: true });
  });

  const start = async (difference: Partial<LaunchOptions> = {}) => {
    const { content } = readFederation("f.yaml", FILE);
    if (content === undefined) throw new Error("the file is broken");
    const ports = Array.from({ length: portsNeeded(content.federation) }, (_, index) => 1 + index);
    const plan = planFederation(content.federation, content.resources, directory, ports);
    const stub = join(directory, "stub.cjs");
    writeFileSync(stub, STUB);
    mkdirSync(join(directory, "logs"));
    for (const { stateDir } of plan.clusters) {
      mkdirSync(stateDir, { recursive: true });
      writeFileSync(join(stateDir, "cluster.json"), "{}");
    }
    federation = new Federation(plan, {
      programs: { registry: stub, gateway: stub, agent: stub },
      env: { PATH: process.env["PATH"] },
      now: () => performance.now(),
      wallClock: () => Date.now(),
      onEvent: (event) => void events.push(event),
      signal: interruption.signal,
      timeoutMs: 10_000,
      connect: async () => acknowledgingRegistry(),
      ...difference,
    });
    return { federation, started: await federation.start() };
  };
  const pidOf = (name: string) => federation?.processes.find(({ spec }) => spec.name === name)?.pid;
  const logOf = (name: string) => readFileSync(join(directory, "logs", `${name}.log`), "utf8");

  test("starts one process per role, each with its own settings, and learns their addresses", async () => {
    const { federation: running, started } = await start();
    expect(started).toMatchObject({ ok: true });
    expect(running.processes.map(({ spec }) => spec.name)).toEqual([
      "registry",
      "east-gateway-1",
      "east-agent-1",
      "west-gateway-1",
      "west-agent-1",
    ]);
    expect(running.imports).toMatchObject([
      { cluster: "west", workload: "ns/shop/sa/web", address: "127.0.0.1:3" },
    ]);
    expect(logOf("west-agent-1")).toContain('"member":"agent-1"');
    expect(readFileSync(join(directory, "config.yaml"), "utf8")).toContain("currentContext: demo.mesh");
  });

  test("starts a killed process again at once, in the same place", async () => {
    await start();
    const before = pidOf("east-gateway-1") ?? 0;
    const killedAt = performance.now();
    process.kill(before, "SIGKILL");
    await until("it is back", 5000, () =>
      events.find(({ kind, slot }) => kind === "ready" && slot.spec.name === "east-gateway-1"),
    );
    expect(performance.now() - killedAt).toBeLessThan(2000);
    expect(pidOf("east-gateway-1")).not.toBe(before);
    expect(events.find(({ kind }) => kind === "ended")).toMatchObject({
      how: "signal SIGKILL",
      early: false,
    });
  });

  test("starts the successor while the predecessor still drains", async () => {
    await start();
    const before = pidOf("west-agent-1") ?? 0;
    process.kill(before, "SIGTERM");
    await until("the successor serves", 5000, () => events.find(({ kind }) => kind === "ready"));
    expect(alive(before)).toBe(true);
    process.kill(before, "SIGUSR2");
    await until("the predecessor ends", 5000, () => (alive(before) ? undefined : true));
    expect(events.map(({ kind }) => kind)).not.toContain("ended");
    expect(logOf("west-agent-1").match(/started/g)).toHaveLength(2);
  });

  test("ends the whole start when a process never serves, with the reason from its log", async () => {
    const { started } = await start({ env: { PATH: process.env["PATH"], ISTHMUS_FAIL: "gateway-1" } });
    expect(started).toMatchObject({
      ok: false,
      error: { name: "port_in_use", detail: expect.stringContaining("127.0.0.1:1 is taken") },
    });
    expect(started.ok ? [] : started.error.lines).toContainEqual(
      expect.stringMatching(/-gateway-1 \| error\[ISTH-6003\]/),
    );
  });

  test("says what it waits for when time is up", async () => {
    // Time is up as soon as the registry is asked who has applied what, however long the processes took to start.
    let passedMs = 0;
    const registry = acknowledgingRegistry(-1);
    const clusters = () => {
      passedMs = 60_000;
      return registry.clusters();
    };
    const { started } = await start({
      now: () => performance.now() + passedMs,
      connect: async () => ({ ...registry, clusters }),
    });
    expect(started).toMatchObject({
      ok: false,
      error: { exit: 124, why: expect.stringContaining("east-agent-1 applied revision 2, not 3 yet") },
    });
  });

  test("ends everything in less than two seconds, also what does not listen", async () => {
    const { federation: running } = await start();
    const pids = running.processes.map(({ pid }) => pid ?? 0);
    process.kill(pids[1] ?? 0, "SIGSTOP");
    const began = performance.now();
    await running.stop();
    expect(performance.now() - began).toBeLessThan(2000);
    expect(pids.filter(alive)).toEqual([]);
  });
});

/** Says of every member that it applied the newest revision, or one that is `behind`. */
function acknowledgingRegistry(behind = 0): RegistryClient {
  const cluster = (name: string): ClusterStatus => ({
    name,
    trustDomain: `${name}.demo.mesh` as ClusterStatus["trustDomain"],
    state: "joined",
    registeredAt: "",
    gateways: [],
    snapshotRevision: 3,
    members: (["gateway", "agent"] as const).map((role) => ({
      member: `${role}-1`,
      role,
      version: "0",
      appliedRevision: 3 + behind,
      state: "applied",
      listeners: [],
      tunnels: ["east", "west"].map((peer) => ({ cluster: peer, address: "127.0.0.1:1", state: "up" })),
      lastSeen: "",
    })),
  });
  const unused = async (): Promise<never> => {
    throw new Error("not asked here");
  };
  return {
    url: "http://127.0.0.1:1",
    federation: unused,
    register: unused,
    cluster: unused,
    deleteCluster: unused,
    rollout: unused,
    bundles: unused,
    rotateSigningKey: unused,
    forgetMember: unused,
    list: unused,
    delete: unused,
    audit: unused,
    issueOperatorToken: unused,
    clusters: async () => ({ ok: true, value: { revision: 3, items: [cluster("east"), cluster("west")] } }),
    apply: async () => ({ ok: true, value: { revision: 1, dryRun: false, results: [] } }),
  };
}
