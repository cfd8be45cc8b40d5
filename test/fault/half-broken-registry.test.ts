import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { joinCluster } from "../../gateway/discovery/membership.ts";
import { SOURCES } from "../../federation/cli/up/programs.ts";
import type { IpcMessage } from "../../gateway/process/ipc.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import {
  type Fault,
  type FaultyProxy,
  RETRY_AFTER_S,
  SLOW_MS,
  startFaultyProxy,
} from "../fakes/faulty-proxy.ts";
import { run } from "../fakes/federation.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { describeAnswer, requestOnce } from "../fakes/load.ts";
import { unwrap } from "../fakes/pki.ts";
import { exportOf, importOf } from "../fakes/registry-scene.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

interface Gateway {
  readonly child: ChildProcess;
  readonly messages: IpcMessage[];
  readonly admin: string;
}

interface MemberStatus {
  readonly revision?: number;
  readonly discovery?: { readonly connected: boolean; readonly refusedCode?: string };
}

let directory = "";
let registry: RegistryProcess;
let proxy: FaultyProxy;
let cart: Workload;
const gateways = new Map<string, Gateway>();

/** A real gateway that knows its registry by the proxy's address only. */
async function startGateway(cluster: string, workloads: readonly object[]): Promise<Gateway> {
  const stateDir = join(directory, cluster);
  mkdirSync(stateDir);
  const { token = "" } = unwrap(await registry.client.register(cluster));
  unwrap(await joinCluster({ registryUrl: proxy.url, token, stateDir, clock: systemClock }));
  const listen = "127.0.0.1:0";
  const servicesFile = join(stateDir, "services.yaml");
  const spec = { gateways: [], agents: [], workloads };
  const services = {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "StaticCluster",
    metadata: { name: cluster },
    spec,
  };
  writeFileSync(servicesFile, stringify(services));
  const child = fork(SOURCES.gateway, {
    env: {
      PATH: process.env["PATH"],
      NODE_COMPILE_CACHE: join(tmpdir(), "isthmus-test-compile-cache"),
      ISTHMUS_STATE_DIR: stateDir,
      ISTHMUS_MEMBER: "gateway-1",
      ISTHMUS_LISTEN: listen,
      ISTHMUS_SERVICES_FILE: servicesFile,
      ISTHMUS_DRAIN_SECONDS: "1",
    },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const messages: IpcMessage[] = [];
  child.on("message", (message) => void messages.push(message as IpcMessage));
  const ready = await until(`${cluster}'s gateway is ready`, 20_000, () =>
    messages.find((message) => message.type === "ready"),
  );
  const gateway = { child, messages, admin: ready.admin };
  gateways.set(cluster, gateway);
  return gateway;
}

/** Where `web` of west finds the service; `undefined` while it is not there. */
function importedAt(service: string): string | undefined {
  const told = gateways.get("west")?.messages.filter((message) => message.type === "listeners") ?? [];
  return told.at(-1)?.listeners.find((listener) => listener.service === `${service}.shop`)?.address;
}

const status = async (cluster: string): Promise<MemberStatus> =>
  (await (await fetch(`http://${gateways.get(cluster)?.admin}/status`)).json()) as MemberStatus;

async function call(): Promise<string> {
  const address = importedAt("cart");
  return address === undefined ? "none" : describeAnswer(await requestOnce(addressOf(address)));
}

/** A call every few milliseconds, so that the machine is free for what is tried. */
function startCalling(): { stop(): Promise<readonly string[]> } {
  const answers: string[] = [];
  let running = true;
  const done = (async () => {
    while (running) {
      answers.push(await call());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    async stop() {
      running = false;
      await done;
      return answers;
    },
  };
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "isthmus-half-broken-"));
  registry = await startRegistryProcess(join(directory, "registry"));
  proxy = await startFaultyProxy(() => registry.url);
  cart = await startHttpWorkload();
  const names = ["cart", ...Array.from({ length: 20 }, (_, index) => `later${index + 1}`)];
  const services = names.map((name) => ({ name, port: 80, protocol: "http", endpoints: [cart.address] }));
  await startGateway("east", [{ namespace: "shop", name: "cart", services }]);
  await startGateway("west", [{ namespace: "shop", name: "web" }]);
  unwrap(await registry.client.apply([exportOf("east", "cart", "west"), importOf("west", "cart", "east")]));
  await until("west calls cart", 20_000, async () => ((await call()) === "200" ? true : undefined));
}, 60_000);

afterEach(() => {
  proxy.fault = "none";
  proxy.spoils = () => true;
});

afterAll(async () => {
  for (const { child } of gateways.values()) {
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }
  await proxy?.stop();
  await registry?.end("SIGTERM");
  await cart?.stop();
  rmSync(directory, { recursive: true, force: true });
});

let changes = 0;

/** Something that west would have heard of. */
async function change(): Promise<string> {
  const name = `later${++changes}`;
  unwrap(await registry.client.apply([exportOf("east", name, "west"), importOf("west", name, "east")]));
  return name;
}

/** What `isthmus check` says of west's gateway. */
async function checked(): Promise<object | undefined> {
  const token = join(directory, "registry", "admin.token");
  const { out } = await run([
    ...["check", "--no-probe", "-o", "json"],
    ...["--registry", registry.url, "--token-file", token],
  ]);
  const { results } = JSON.parse(out) as { readonly results: readonly object[] };
  return results.find(
    (result) =>
      Reflect.get(result, "category") === "cluster west" &&
      Reflect.get(result, "name") === "gateway-1 is up to date",
  );
}

describe("a registry that is half broken", () => {
  // What each leads to, as the member itself and the operator's check say it.
  const FAULTS: readonly (readonly [Fault, Partial<MemberStatus["discovery"]>])[] = [
    ["throttled", { connected: false }],
    ["failing", { connected: false }],
    ["cut", { connected: false }],
    ["half-packed", { connected: false }],
    ["garbled", { connected: false }],
    ["foreign", { connected: true, refusedCode: "ISTH-1051" }],
  ];

  test.each(FAULTS)(
    "%s: calls go on with what is known, the member and the check say so, and it heals by itself",
    { timeout: 60_000 },
    async (fault, expected) => {
      const load = startCalling();
      // Reports pass, as they do where only the larger answers are spoiled.
      proxy.spoils = ({ path }) => path.endsWith("/clusters/west/snapshot");
      proxy.fault = fault;
      const before = proxy.spoiled.length;
      const name = await change();
      // The question that waited already when the fault began may still have brought this change.
      const unheard = await change();
      await until(`the member notices ${fault}`, 40_000, async () => {
        const { discovery: told } = await status("west");
        return Object.entries(expected ?? {}).every(([key, value]) => Reflect.get(told ?? {}, key) === value)
          ? true
          : undefined;
      });
      await until("it was spoiled more than once", 30_000, () =>
        proxy.spoiled.length > before + 1 ? true : undefined,
      );
      const [one = 0, next = 0] = proxy.spoiled.slice(before);
      if (fault === "throttled") expect(next - one).toBeGreaterThanOrEqual(RETRY_AFTER_S * 1_000 - 50);
      expect(importedAt(unheard), "frozen").toBeUndefined();
      expect(await call()).toBe("200");
      expect(await checked()).toMatchObject({
        status: expect.stringMatching(/warning|failed/),
        ...(expected?.refusedCode === undefined ? {} : { code: expected.refusedCode }),
      });
      proxy.fault = "none";
      for (const service of [name, unheard])
        await until(`${service} is there once it heals`, 20_000, () => importedAt(service));
      await until("the member is content again", 5_000, async () => {
        const { discovery: told } = await status("west");
        return told?.connected === true && told.refusedCode === undefined ? true : undefined;
      });
      expect(await checked()).toMatchObject({ status: "ok" });
      const answers = await load.stop();
      expect(answers.length).toBeGreaterThan(20);
      expect(answers.filter((answer) => answer !== "200")).toEqual([]);
    },
  );

  test("that is slow is heard late, and nobody takes it for dead", { timeout: 30_000 }, async () => {
    const load = startCalling();
    proxy.fault = "slow";
    // The question that waits already brings this one at once.
    const first = await change();
    await until("it is heard", 25_000, () => importedAt(first));
    const began = performance.now();
    const name = await change();
    await until("it is heard", 25_000, () => importedAt(name));
    expect(performance.now() - began).toBeGreaterThan(SLOW_MS);
    expect((await status("west")).discovery).toMatchObject({ connected: true });
    expect((await load.stop()).filter((answer) => answer !== "200")).toEqual([]);
  });
});
