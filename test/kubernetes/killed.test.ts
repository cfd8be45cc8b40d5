import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LEASES, NAMESPACES, PODS, SERVICES } from "../../agents/kubernetes/api/resource-type.ts";
import { API_VERSION } from "../../federation/model/resource.ts";
import { type Discovery, joinCluster, openDiscovery } from "../../gateway/discovery/index.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { type KubeFaults, startKubeFaults } from "../fakes/kube-api/fault-proxy.ts";
import { KUBE_APISERVER } from "../fakes/kube-api/real.ts";
import {
  type MemberProcess,
  podToken,
  registerCluster,
  startMember,
  writeKubeconfig,
} from "../fakes/kube-members.ts";
import { accessAs, type KubeApi, localAddress, startKubeApi, until } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { unwrap } from "../fakes/pki.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { clear, collectGarbage, EXPORTS, isOurs, made, OURS, SLICES } from "./made.ts";
import { namespace, pod, service, serviceExport, slice } from "./objects.ts";

const SPACE = "shop";
const ISSUER = { host: localAddress(77, 7), port: 15_012 };
/** Each start of a process is a second: on the double the first few writes, on a real API server all of them. */
const MAX_KILLS = KUBE_APISERVER === undefined ? 4 : 40;
const MAX_TIME_MS = MAX_KILLS * 20_000;

let directory: string;
let api: KubeApi;
let faults: KubeFaults;
let registry: RegistryProcess;
let gateway: MemberProcess;
let east: Discovery;
let starts = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "isthmus-killed-"));
  [registry, api] = await Promise.all([startRegistryProcess(join(directory, "registry")), startKubeApi()]);
  faults = await startKubeFaults(api.access);
  await api.put(NAMESPACES, namespace(SPACE));
  for (const [of, port, portName] of [
    ["isthmus-gateway", 15_008, "tunnel"],
    ["isthmus-issuer", ISSUER.port, "issuer"],
  ] as const) {
    const ports = [{ name: portName, port }];
    await api.put(SERVICES, service(of, { namespace: "isthmus-system", ports }));
    await api.put(SLICES, slice(of, { namespace: "isthmus-system", ports, addresses: [ISSUER.host] }));
  }
  const at = { node: "a", namespace: "isthmus-system" };
  await api.put(PODS, pod("isthmus-controller-1", "controller", undefined, at));
  writeFileSync(join(directory, "join"), await registerCluster(registry, "west"));
  east = await joinEast(["cart", "late"]);
  gateway = startMember("gateway", {
    ISTHMUS_KUBERNETES: writeKubeconfig(join(directory, "gateway"), await accessAs(api, "gateway")),
    ISTHMUS_STATE_DIR: join(directory, "gateway-state"),
    ISTHMUS_MEMBER: "gateway-1",
    ISTHMUS_REGISTRY: registry.url,
    ISTHMUS_JOIN_TOKEN_FILE: join(directory, "join"),
    ISTHMUS_ISSUER_LISTEN: `${ISSUER.host}:${ISSUER.port}`,
  });
  await until("the gateway issues", 30_000, () => has(gateway, "issuing"));
}, 120_000);

/** Another cluster, of which the registry hears these services. */
async function joinEast(names: readonly string[]): Promise<Discovery> {
  const stateDir = join(directory, "east");
  const common = { stateDir, clock: systemClock };
  const token = await registerCluster(registry, "east");
  unwrap(await joinCluster({ ...common, registryUrl: registry.url, token }));
  const servicesFile = join(directory, "east.json");
  const services = names.map((name) => ({ name, port: 80, protocol: "http", endpoints: ["127.0.0.1:9003"] }));
  const spec = { workloads: [{ namespace: SPACE, name: "all", services }] };
  writeFileSync(
    servicesFile,
    JSON.stringify({ apiVersion: API_VERSION, kind: "StaticCluster", metadata: { name: "east" }, spec }),
  );
  const self = { role: "gateway", member: "gateway-1", version: "0.1.0" } as const;
  const opened = unwrap(
    await openDiscovery({ ...common, ...self, servicesFile, log: createMemoryLog(), random: Math.random }),
  );
  opened.startReporting(() => ({
    listeners: [],
    tunnels: [],
    advertise: "127.0.0.1:15008",
    admin: "127.0.0.1:9901",
  }));
  return opened;
}

afterAll(async () => {
  east?.stop();
  gateway?.child.kill("SIGKILL");
  await faults?.close();
  await api?.close();
  await registry?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

const has = ({ log }: MemberProcess, event: string): true | undefined =>
  log.some((line) => line["event"] === event) ? true : undefined;

/** The process as its image starts it, in a new pod each time: nothing is left of the one before. */
async function startController(): Promise<MemberProcess> {
  // Its Lease ran out; that nobody takes it before, leader.test.ts shows.
  await api.remove(LEASES, "isthmus-system", "isthmus-controller");
  const name = join(directory, `controller-${++starts}`);
  const token = await podToken(api, { account: "controller", pod: "isthmus-controller-1" });
  writeFileSync(`${name}.identity`, token);
  return startMember("controller", {
    ISTHMUS_KUBERNETES: writeKubeconfig(name, faults.through(await accessAs(api, "controller"))),
    ISTHMUS_STATE_DIR: `${name}-state`,
    ISTHMUS_MEMBER: `controller-${starts}`,
    ISTHMUS_IDENTITY_TOKEN_FILE: `${name}.identity`,
    ISTHMUS_REGISTRY: registry.url,
  });
}

/** Until it leads, has its rules (asking for them again after a second, if need be) and asked the API server for nothing for a second. */
async function settled(member: MemberProcess): Promise<"settled" | "ended"> {
  let before = -1;
  let sinceMs = performance.now();
  return until("it settles", 40_000, async () => {
    if (member.ended()) return "ended";
    const asked = faults.asked.filter(({ verb }) => verb !== "list").length;
    const isReady = has(member, "leading") === true && has(member, "snapshot_applied") === true;
    if (asked !== before || !isReady) sinceMs = performance.now();
    before = asked;
    return performance.now() - sinceMs > 1_000 ? "settled" : undefined;
  });
}

/** One process after another, each killed when its first write is done, before it hears so, until there is nothing to do. */
async function killAfterEachWrite(): Promise<readonly string[]> {
  const writes: string[] = [];
  for (;;) {
    const member = await startController();
    faults.onWrite = async ({ verb, resource, name }) => {
      if (writes.length >= MAX_KILLS) return "answer";
      writes.push(`${verb} ${resource} ${name}`);
      const exited = new Promise((resolve) => member.child.once("exit", resolve));
      member.child.kill("SIGKILL");
      await exited;
      return "drop";
    };
    const end = await settled(member);
    // As in a cluster, whose collector also runs between the two.
    await collectGarbage(api, SPACE);
    if (end === "ended") continue;
    await settled(member);
    member.child.kill("SIGKILL");
    faults.onWrite = undefined;
    return writes;
  }
}

/** Everything of ours is taken away, and one process makes what it thinks should be there. */
async function freshResult(): Promise<unknown> {
  await clear(api, SPACE, OURS, isOurs);
  for (const { metadata } of await api.list(EXPORTS, SPACE)) {
    await api.remove(EXPORTS, SPACE, metadata.name);
    await api.put(EXPORTS, serviceExport(metadata.name));
  }
  const member = await startController();
  await settled(member);
  const there = await made(api, SPACE);
  member.child.kill("SIGKILL");
  return there;
}

async function offered(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const spec = { consumers: [{ cluster: "west" }] };
    const metadata = { cluster: "east", namespace: SPACE, name };
    unwrap(await registry.client.apply([{ apiVersion: API_VERSION, kind: "ServiceExport", metadata, spec }]));
  }
}

describe("a controller that is killed between two writes", () => {
  it("leaves nothing that its successors do not bring to what a fresh one makes, whichever write was its last", {
    timeout: MAX_TIME_MS,
  }, async () => {
    await api.put(SERVICES, service("stock"));
    await api.put(SLICES, slice("stock", { ports: [{ name: "http", port: 8080 }], addresses: ["10.8.0.1"] }));
    await api.put(EXPORTS, serviceExport("stock"));
    await offered(["cart"]);
    const writes = await killAfterEachWrite();
    expect(writes.length).toBeGreaterThanOrEqual(Math.min(MAX_KILLS, 8));
    const there = await made(api, SPACE);
    expect(there.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["serviceimports/cart", "serviceimports/stock"]),
    );
    expect(await freshResult()).toEqual(there);
  });

  it("leaves nothing behind of what has to go", { timeout: MAX_TIME_MS }, async () => {
    await api.remove(EXPORTS, SPACE, "stock");
    await offered(["late"]);
    const cart = { cluster: "east", kind: "ServiceExport", namespace: SPACE, name: "cart" } as const;
    unwrap(await registry.client.delete(cart));
    const before = faults.asked.length;
    await killAfterEachWrite();
    // Asked for, not answered: they go out together with other writes, and the first that is done ends the process.
    expect(faults.asked.slice(before).map(({ verb }) => verb)).toContain("delete");
    const there = await made(api, SPACE);
    expect(there.map(({ name }) => name).filter((name) => name.startsWith("serviceimports"))).toEqual([
      "serviceimports/late",
    ]);
    expect(await freshResult()).toEqual(there);
  });
});
