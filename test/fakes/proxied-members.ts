import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { SOURCES } from "../../federation/cli/up/programs.ts";
import { joinCluster } from "../../gateway/discovery/membership.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import type { IpcMessage } from "../../gateway/process/ipc.ts";
import { type FaultyProxy, startFaultyProxy } from "./faulty-proxy.ts";
import { run } from "./federation.ts";
import { addressOf } from "./http-wire.ts";
import { describeAnswer, requestOnce } from "./load.ts";
import { unwrap } from "./pki.ts";
import { type RegistryProcess, startRegistryProcess } from "./registry-process.ts";
import { exportOf, importOf } from "./registry-scene.ts";
import { until } from "./until.ts";
import { startHttpWorkload } from "./workloads.ts";

export interface MemberStatus {
  readonly revision?: number;
  readonly discovery?: { readonly connected: boolean; readonly refusedCode?: string };
}

interface Gateway {
  child: ChildProcess;
  messages: IpcMessage[];
  admin: string;
}

/** A real gateway of `east`, which exports, and one of `west`, which imports; both know their registry by a proxy only. */
export interface ProxiedMembers {
  readonly directory: string;
  readonly proxy: FaultyProxy;
  /** The one that the proxy leads to; another may be put in its place. */
  registry: RegistryProcess;
  /** What `web` of west gets from `cart`: `200`, or why not. */
  call(): Promise<string>;
  /** A call every few milliseconds, so that the machine is free for what is tried. */
  startCalling(): { stop(): Promise<readonly string[]> };
  /** Exports and imports something more, which west hears of when all is well; answers its name. */
  change(): Promise<string>;
  /** Where `web` of west finds the service; `undefined` while it is not there. */
  importedAt(service: string): string | undefined;
  /** What west's gateway says of itself. */
  status(): Promise<MemberStatus>;
  /** The line of `isthmus check` about west's gateway. */
  checked(): Promise<object | undefined>;
  /** `kill -9` of west's gateway, and its next start. */
  killWest(): Promise<void>;
  startWest(): Promise<void>;
  stop(): Promise<void>;
}

/** Exported by east from the start, for `change`. */
const MORE = 20;

export async function startProxiedMembers(settings: Record<string, string> = {}): Promise<ProxiedMembers> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-members-"));
  const registry = await startRegistryProcess(join(directory, "registry"), settings);
  const proxy = await startFaultyProxy(() => members.registry.url);
  const cart = await startHttpWorkload();
  const gateways = new Map<string, Gateway>();
  let changes = 0;
  const members: ProxiedMembers = {
    directory,
    proxy,
    registry,
    async call() {
      const address = members.importedAt("cart");
      return address === undefined ? "none" : describeAnswer(await requestOnce(addressOf(address)));
    },
    startCalling: () => startCalling(members.call),
    async change() {
      const name = `later${++changes}`;
      const resources = [exportOf("east", name, "west"), importOf("west", name, "east")];
      unwrap(await members.registry.client.apply(resources));
      return name;
    },
    importedAt(service) {
      const told = gateways.get("west")?.messages.filter((message) => message.type === "listeners") ?? [];
      return told.at(-1)?.listeners.find((listener) => listener.service === `${service}.shop`)?.address;
    },
    status: async () =>
      (await (await fetch(`http://${gateways.get("west")?.admin}/status`)).json()) as MemberStatus,
    checked: () => checkOf(members.registry),
    killWest: () => kill(gateways.get("west")),
    async startWest() {
      gateways.set("west", await startGateway(join(directory, "west")));
    },
    async stop() {
      for (const gateway of gateways.values()) await kill(gateway);
      await proxy.stop();
      await members.registry.end("SIGTERM");
      await cart.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
  const names = ["cart", ...Array.from({ length: MORE }, (_, index) => `later${index + 1}`)];
  const services = names.map((name) => ({ name, port: 80, protocol: "http", endpoints: [cart.address] }));
  const workloads = { east: { name: "cart", services }, west: { name: "web" } };
  for (const [cluster, workload] of Object.entries(workloads)) {
    await joinWith(members, cluster, [{ namespace: "shop", ...workload }]);
    gateways.set(cluster, await startGateway(join(directory, cluster)));
  }
  unwrap(await registry.client.apply([exportOf("east", "cart", "west"), importOf("west", "cart", "east")]));
  await until("west calls cart", 20_000, async () => ((await members.call()) === "200" ? true : undefined));
  return members;
}

async function joinWith(
  { directory, registry, proxy }: ProxiedMembers,
  cluster: string,
  workloads: readonly object[],
): Promise<void> {
  const stateDir = join(directory, cluster);
  mkdirSync(stateDir);
  const { token = "" } = unwrap(await registry.client.register(cluster));
  unwrap(await joinCluster({ registryUrl: proxy.url, token, stateDir, clock: systemClock }));
  const apiVersion = "isthmus.dev/v1alpha1";
  const spec = { gateways: [], agents: [], workloads };
  const services = { apiVersion, kind: "StaticCluster", metadata: { name: cluster }, spec };
  writeFileSync(join(stateDir, "services.yaml"), stringify(services));
}

async function startGateway(stateDir: string): Promise<Gateway> {
  const child = fork(SOURCES.gateway, {
    env: {
      PATH: process.env["PATH"],
      NODE_COMPILE_CACHE: join(tmpdir(), "isthmus-test-compile-cache"),
      ISTHMUS_STATE_DIR: stateDir,
      ISTHMUS_MEMBER: "gateway-1",
      ISTHMUS_LISTEN: "127.0.0.1:0",
      ISTHMUS_SERVICES_FILE: join(stateDir, "services.yaml"),
    },
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
  const messages: IpcMessage[] = [];
  child.on("message", (message) => void messages.push(message as IpcMessage));
  const ready = await until("the gateway is ready", 20_000, () =>
    messages.find((message) => message.type === "ready"),
  );
  return { child, messages, admin: ready.admin };
}

async function kill(gateway: Gateway | undefined): Promise<void> {
  if (gateway === undefined || gateway.child.exitCode !== null || gateway.child.signalCode !== null) return;
  const gone = once(gateway.child, "exit");
  gateway.child.kill("SIGKILL");
  await gone;
}

function startCalling(call: () => Promise<string>): { stop(): Promise<readonly string[]> } {
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

async function checkOf({ url, token }: RegistryProcess): Promise<object | undefined> {
  const file = join(mkdtempSync(join(tmpdir(), "isthmus-token-")), "token");
  writeFileSync(file, token, { mode: 0o600 });
  const { out } = await run(["check", "--no-probe", "-o", "json", "--registry", url, "--token-file", file]);
  rmSync(join(file, ".."), { recursive: true });
  const { results } = JSON.parse(out) as { readonly results: readonly object[] };
  return results.find(
    (result) =>
      Reflect.get(result, "category") === "cluster west" &&
      Reflect.get(result, "name") === "gateway-1 is up to date",
  );
}
