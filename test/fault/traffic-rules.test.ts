// Longer than other files: one scene of many processes, and every rule that keeps a service up.
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";
import { type NamedWorkload, startNamedWorkload } from "../conformance/named-workload.ts";
import { type Federation, startFederation } from "../fakes/federation.ts";
import { H2Client } from "../fakes/h2-ask.ts";
import { startLoad, tally } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";

/**
 * The rules that keep a service up, over real processes: cart is in east (v1 and v2) and in north; west, with two gateways that
 * share their port, calls it.
 */
const apiVersion = "isthmus.dev/v1alpha1";
const CONNECTIONS = 4;
let federation: Federation;
const workloads = new Map<string, NamedWorkload>();

beforeAll(async () => {
  for (const name of ["v1", "v2", "north"]) workloads.set(name, await startNamedWorkload(name));
  const cart = (name: string, workload: string, version?: string) => ({
    namespace: "shop",
    name,
    services: [
      {
        name: "cart",
        port: 80,
        protocol: "http",
        endpoints: [of(workload).address],
        ...(version && { version }),
      },
    ],
  });
  const cluster = { agents: false };
  const clusters = [
    { name: "east", ...cluster, workloads: [cart("cart-v1", "v1", "v1"), cart("cart-v2", "v2", "v2")] },
    { name: "north", ...cluster, workloads: [cart("cart", "north")] },
    { name: "west", ...cluster, gateways: 2, workloads: [{ namespace: "shop", name: "web" }] },
  ];
  const shared = (owner: string) => ({
    apiVersion,
    kind: "ServiceExport",
    metadata: { cluster: owner, namespace: "shop", name: "cart" },
    spec: { consumers: [{ cluster: "west" }] },
  });
  federation = await startFederation([
    { apiVersion, kind: "LocalFederation", metadata: { name: "test.mesh" }, spec: { clusters } },
    shared("east"),
    shared("north"),
    {
      apiVersion,
      kind: "ServiceImport",
      metadata: { cluster: "west", namespace: "shop", name: "cart" },
      spec: { from: { cluster: "east", also: ["north"] } },
    },
  ]);
}, 70_000);

afterAll(async () => {
  await federation.stop();
  for (const workload of workloads.values()) await workload.close();
});

function of(name: string): NamedWorkload {
  const found = workloads.get(name);
  if (found === undefined) throw new Error(`no workload ${name}`);
  return found;
}

const served = () => Object.fromEntries([...workloads].map(([name, workload]) => [name, workload.served]));
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What has arrived is handled: else answers that wait behind a stall of this process count for the next two seconds. */
const handled = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

/** Who answers within so many milliseconds of load. */
async function answering(ms: number): Promise<string[]> {
  const before = served();
  await pause(ms);
  return Object.entries(served())
    .filter(([name, count]) => count > (before[name] ?? 0))
    .map(([name]) => name);
}

/** Kinds as the command line takes them. */
const WORDS: { readonly [kind: string]: string } = {
  RateLimit: "ratelimit",
  BackendTrafficPolicy: "trafficpolicy",
  TrafficRoute: "route",
};
const inForce = new Set<string>();

const loads = new Set<ReturnType<typeof startLoad>>();

/** What a failed test left in force would fail those of the next part too. */
async function leaveNothing(): Promise<void> {
  for (const running of loads) await running.stop();
  for (const reference of inForce) await remove(reference);
}

async function apply(kind: string, cluster: string, name: string, spec: object): Promise<void> {
  if (WORDS[kind] !== undefined) inForce.add(`${WORDS[kind]}/${cluster}/shop/${name}`);
  const file = join(mkdtempSync(join(tmpdir(), "isthmus-rules-")), "rule.yaml");
  writeFileSync(file, stringify({ apiVersion, kind, metadata: { cluster, namespace: "shop", name }, spec }));
  const done = await federation.isthmus("apply", "-f", file, "--wait");
  expect(done, done.err).toMatchObject({ code: 0 });
}

async function remove(reference: string): Promise<void> {
  inForce.delete(reference);
  const done = await federation.isthmus("delete", reference, "--wait");
  expect(done, done.err).toMatchObject({ code: 0 });
}

function load(onOk?: (askedAt: number) => void): ReturnType<typeof startLoad> {
  const running = startLoad(federation.address("web"), CONNECTIONS, undefined, undefined, onOk);
  loads.add(running);
  return running;
}

async function phase(): Promise<{ phase: string; weight: number; step: number } | undefined> {
  const { out } = await federation.isthmus(
    "rollout",
    "status",
    "shop/cart",
    "--cluster",
    "east",
    "-o",
    "json",
  );
  return (JSON.parse(out) as { progress?: { phase: string; weight: number; step: number } }).progress;
}

describe("a limit of 100/s that two gateways share", () => {
  afterAll(leaveNothing);

  it("lets 95 to 105 a second through, and never more while one after the other is killed", async () => {
    await apply("RateLimit", "west", "limit", {
      targetRefs: [{ kind: "ServiceImport", name: "cart" }],
      limit: { requests: 100, unit: "Second" },
    });
    // Both gateways are given their first tokens when the rule comes: load within that moment has them on top.
    await pause(300);
    // Asked for and answered in one window: what was let through before it, and is answered in it, is not its own.
    let [from, passed] = [performance.now(), 0];
    const running = load((askedAt) => {
      if (askedAt >= from) passed += 1;
    });
    // Every window from the first request to the last, those of the kills among them.
    const windows: number[] = [];
    let isOver = false;
    const watching = (async () => {
      while (!isOver) {
        await pause(2_000);
        await handled();
        const now = performance.now();
        windows.push((passed * 1_000) / (now - from));
        [from, passed] = [now, 0];
      }
    })();
    // Less only while the machine has no time for the proxies, which a test must bear.
    const settles = () => {
      const seen = windows.length;
      return until("95 and more a second pass", 20_000, async () =>
        windows.slice(seen).some((passed) => passed >= 95) ? true : undefined,
      );
    };
    await settles();
    for (const number of [1, 2]) {
      const killed = federation.signal({ role: "gateway", cluster: "west", number }, "SIGKILL");
      await federation.returned({ role: "gateway", cluster: "west", number }, killed);
      await settles();
    }
    isOver = true;
    await watching;
    expect(Math.max(...windows), windows.map(Math.round).join()).toBeLessThanOrEqual(105);
    const { failed } = await running.stop();
    expect(tally(failed)["429 ISTH-3301"]).toBeGreaterThan(100);
    await remove("ratelimit/west/shop/limit");
  }, 60_000);
});

describe("failover between clusters under load", () => {
  afterAll(leaveNothing);

  it("moves within two seconds when a cluster's service is killed, and back without flapping", async () => {
    await apply("BackendTrafficPolicy", "west", "cart", {
      targetRefs: [{ kind: "ServiceImport", name: "cart" }],
      failover: {
        priorities: [{ clusters: [{ cluster: "east" }] }, { clusters: [{ cluster: "north" }] }],
        failback: { delay: "1s", ramp: "1s" },
      },
    });
    const running = load();
    await until("east alone answers", 5_000, async () =>
      (await answering(200)).join() === "v1,v2" ? true : undefined,
    );
    const killedAt = performance.now();
    for (const name of ["v1", "v2"]) await of(name).kill();
    await until("north answers", 2_000, async () =>
      (await answering(100)).includes("north") ? true : undefined,
    );
    await pause(2_000 - (performance.now() - killedAt));
    const moved = running.report();
    expect(await answering(500)).toEqual(["north"]);
    // Two seconds after the loss nothing fails any more.
    expect(running.report().failed.length).toBe(moved.failed.length);
    for (const name of ["v1", "v2"]) await of(name).revive();
    await until("east alone answers again", 10_000, async () =>
      (await answering(300)).join() === "v1,v2" ? true : undefined,
    );
    expect(running.report().failed.length).toBe(moved.failed.length);
    await running.stop();
  }, 60_000);

  it("loses at most what was under way when one endpoint of two is killed", async () => {
    const running = load();
    await answering(300);
    await of("v2").kill();
    await answering(1_000);
    const { failed } = await running.stop();
    expect(failed.length).toBeLessThanOrEqual(CONNECTIONS);
    await of("v2").revive();
    await remove("trafficpolicy/west/shop/cart");
  }, 30_000);

  it("loses none, by either version of HTTP, where a rule retries", async () => {
    await apply("TrafficRoute", "west", "cart", {
      parentRefs: [{ name: "cart" }],
      rules: [{ retry: { attempts: 2, backoff: "5ms" } }],
    });
    const running = load();
    const { host, port } = federation.address("web");
    const http2 = new H2Client();
    const seen = new Map<string, number>();
    let isRunning = true;
    const lane = async () => {
      while (isRunning) {
        const what = await http2.ask(`${host}:${port}`, "/").then(
          ({ status }) => `${status}`,
          (error: unknown) => (error instanceof Error ? error.message : String(error)),
        );
        seen.set(what, (seen.get(what) ?? 0) + 1);
      }
    };
    const lanes = Array.from({ length: CONNECTIONS }, lane);
    await answering(300);
    await of("v2").kill();
    await answering(1_000);
    isRunning = false;
    await Promise.all(lanes);
    http2.close();
    const { ok, failed } = await running.stop();
    await of("v2").revive();
    expect(tally(failed)).toEqual({});
    // Head and body are two frames: an endpoint killed between them cuts an answer that has begun, at most one of each lane.
    expect(seen.get("cut after its answer began") ?? 0).toBeLessThanOrEqual(CONNECTIONS);
    expect([...seen.keys()].filter((what) => what !== "cut after its answer began")).toEqual(["200"]);
    expect(Math.min(ok, seen.get("200") ?? 0)).toBeGreaterThan(100);
    await remove("route/west/shop/cart");
  }, 30_000);
});

describe("a rollout judged by what the proxies measure", () => {
  afterAll(leaveNothing);

  const spec = {
    targetRef: { kind: "Service", name: "cart" },
    stable: { version: "v1" },
    canary: { version: "v2" },
    steps: [{ setWeight: 50, pause: { duration: "1s" } }],
    analysis: { successRate: 95, latency: { percentile: 50, max: "2s" }, minRequests: 20 },
  };
  const reaches = (wanted: string) =>
    until(`the rollout is ${wanted}`, 20_000, async () =>
      (await phase())?.phase === wanted ? true : undefined,
    );

  it("succeeds while the canary is well, and goes back by itself when it fails", async () => {
    const running = load();
    await apply("Rollout", "east", "cart", spec);
    await reaches("Succeeded");
    expect(await answering(500)).not.toContain("v1");
    of("v2").behave(500);
    await apply("Rollout", "east", "cart", {
      ...spec,
      steps: [{ setWeight: 40, pause: { duration: "60s" } }],
    });
    await reaches("RolledBack");
    expect(await phase()).toMatchObject({ weight: 0 });
    await until("only v1 answers in east", 3_000, async () =>
      (await answering(300)).includes("v2") ? undefined : true,
    );
    of("v2").behave(200);
    await running.stop();
  }, 60_000);

  it("goes back when its latency is over the limit, and status says so", async () => {
    const running = load();
    await apply("Rollout", "east", "cart", {
      ...spec,
      steps: [{ setWeight: 40, pause: { duration: "60s" } }],
      // The first bucket ends at 5 ms: nothing can be faster.
      analysis: { latency: { percentile: 50, max: "1ms" }, minRequests: 20 },
    });
    await reaches("RolledBack");
    const { code, out } = await federation.isthmus("rollout", "status", "shop/cart", "--cluster", "east");
    expect(code).toBe(1);
    expect(out).toMatch(/the 50th percentile of the latency is \d+ ms, 1ms is the most/);
    await running.stop();
  }, 60_000);

  it("is paused, promoted and aborted from a shell, and says how to undo each", async () => {
    const running = load();
    const rollout = (...words: string[]) =>
      federation.isthmus("rollout", ...words, "shop/cart", "--cluster", "east");
    await apply("Rollout", "east", "cart", {
      ...spec,
      steps: [
        { setWeight: 20, pause: {} },
        { setWeight: 60, pause: { duration: "60s" } },
      ],
    });
    const waiting = await rollout("status");
    expect([waiting.code, waiting.out]).toEqual([0, expect.stringMatching(/v1 → v2 .* 1\/2 .* 20 %/)]);
    const promoted = await rollout("promote");
    expect([promoted.code, promoted.err]).toEqual([
      0,
      expect.stringContaining("rollout abort shop/cart --cluster east"),
    ]);
    expect(await phase()).toMatchObject({ weight: 60 });
    const paused = await rollout("pause");
    expect([paused.code, paused.err]).toEqual([
      0,
      expect.stringContaining("rollout promote shop/cart --cluster east"),
    ]);
    expect(await phase()).toMatchObject({ phase: "Paused", weight: 60 });
    expect((await rollout("abort")).code).toBe(0);
    expect(await phase()).toMatchObject({ phase: "Aborted", weight: 0 });
    expect((await rollout("status")).code).toBe(1);
    await until("only v1 answers in east", 3_000, async () =>
      (await answering(300)).includes("v2") ? undefined : true,
    );
    await running.stop();
  }, 60_000);

  it("stays at its step while the registry is away", async () => {
    const running = load();
    await apply("Rollout", "east", "cart", {
      ...spec,
      steps: [{ setWeight: 60, pause: { duration: "3s" } }],
    });
    expect(await phase()).toMatchObject({ phase: "Progressing", weight: 60 });
    federation.pause();
    const killed = federation.signal({ role: "registry" }, "SIGKILL");
    await pause(4_000);
    const before = served();
    await pause(500);
    expect((served()["v2"] ?? 0) - (before["v2"] ?? 0)).toBeGreaterThan(0);
    expect((served()["v1"] ?? 0) - (before["v1"] ?? 0)).toBeGreaterThan(0);
    federation.resume();
    await federation.returned({ role: "registry" }, killed, 20_000);
    expect(await phase()).toMatchObject({ phase: "Progressing", weight: 60 });
    await reaches("Succeeded");
    await running.stop();
  }, 60_000);
});
