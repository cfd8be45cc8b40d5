// Longer than other files: a cluster, an agent in it, and what is measured of it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildImage } from "../../federation/cli/install/build-image.ts";
import {
  type MemberProcess,
  podToken,
  registerCluster,
  residentMiB,
  startMember,
  writeKubeconfig,
} from "../fakes/kube-members.ts";
import { type KubeApi, startKubeApi } from "../fakes/kube-world.ts";
import { startRegistryProcess } from "../fakes/registry-process.ts";
import { until } from "../fakes/until.ts";
import { namespace, pod, service, slice } from "../kubernetes/objects.ts";

/** MB as the bars have them: a million bytes. */
const BARS = { idle: 100, large: 250 } as const;
const SERVICES = 5_000;
const ENDPOINTS_EACH = 10;
const CHANGES = 200;
const ISSUER = { host: "127.9.0.77", port: 15_012 };
const DOCKERFILE = new URL("../../infra/kubernetes/images/agent.Dockerfile", import.meta.url);

const directory = mkdtempSync(join(tmpdir(), "isthmus-footprint-"));
const stops: (() => unknown)[] = [() => rmSync(directory, { recursive: true, force: true })];
const print = (text: string): void => void process.stdout.write(`${text}\n`);

async function measure(): Promise<boolean> {
  await buildImage("agent", join(directory, "image"));
  const registry = await startRegistryProcess(join(directory, "registry"));
  stops.push(() => registry.end("SIGKILL"));
  const api = await startKubeApi();
  stops.push(() => api.close());
  const gateway = await startGateway(api, await registerCluster(registry, "east"), registry.url);
  stops.push(() => gateway.child.kill("SIGKILL"));
  const agent = await startAgent(api, registry.url);
  stops.push(() => agent.child.kill("SIGKILL"));
  await until("the agent is ready", 60_000, () => has(agent, "serving"));
  const idle = await rested(agent);
  print(`| idle node agent, resident | ${idle.toFixed(0)} MB | ${BARS.idle} MB |`);
  fill(api);
  await until("the agent has heard of all", 120_000, () => quiet(agent));
  const large = await rested(agent);
  print(
    `| with ${SERVICES} Services and ${SERVICES * ENDPOINTS_EACH} endpoints | ${large.toFixed(0)} MB | ${BARS.large} MB |`,
  );
  const before = cpuMs(agent);
  for (let change = 0; change < CHANGES; change++) {
    api.double?.put("endpointslices", sliceOf(change, change + 1));
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  const each = (cpuMs(agent) - before) / CHANGES;
  print(`| one changed endpoint, CPU | ${each.toFixed(2)} ms | |`);
  return idle < BARS.idle && large < BARS.large;
}

const has = ({ log }: MemberProcess, event: string): true | undefined =>
  log.some((line) => line["event"] === event) ? true : undefined;

async function startGateway(api: KubeApi, token: string, registryUrl: string): Promise<MemberProcess> {
  const ports = [{ name: "issuer", port: ISSUER.port }];
  const at = { namespace: "isthmus-system", ports };
  api.double?.put("services", service("isthmus-issuer", at));
  api.double?.put("endpointslices", slice("isthmus-issuer", { ...at, addresses: [ISSUER.host] }));
  writeFileSync(join(directory, "join"), token);
  const gateway = startMember("gateway", {
    ISTHMUS_KUBERNETES: writeKubeconfig(join(directory, "kubeconfig"), api.access),
    ISTHMUS_STATE_DIR: join(directory, "gateway"),
    ISTHMUS_MEMBER: "gateway-1",
    ISTHMUS_REGISTRY: registryUrl,
    ISTHMUS_JOIN_TOKEN_FILE: join(directory, "join"),
    ISTHMUS_ISSUER_LISTEN: `${ISSUER.host}:${ISSUER.port}`,
  });
  await until("the gateway issues", 60_000, () => has(gateway, "issuing"));
  return gateway;
}

/** As its image starts it: one bundled file, with the flags of its Dockerfile. */
async function startAgent(api: KubeApi, registryUrl: string): Promise<MemberProcess> {
  const own = pod("isthmus-agent-1", "agent", undefined, { node: "a", namespace: "isthmus-system" });
  api.double?.put("pods", own);
  const token = await podToken(api, { account: "agent", pod: "isthmus-agent-1" });
  writeFileSync(join(directory, "identity"), token);
  const [, entry = "[]"] = /^ENTRYPOINT (\[.*\])$/m.exec(readFileSync(DOCKERFILE, "utf8")) ?? [];
  const flags = (JSON.parse(entry) as string[]).slice(1, -1);
  const command = [process.execPath, ...flags, join(directory, "image/main.mjs")];
  return startMember(
    "agent",
    {
      // Without a way to nft: this machine's own rules stay as they are.
      PATH: "",
      MALLOC_ARENA_MAX: "1",
      ISTHMUS_KUBERNETES: join(directory, "kubeconfig"),
      ISTHMUS_STATE_DIR: join(directory, "agent"),
      ISTHMUS_MEMBER: "agent-1",
      ISTHMUS_NODE: "a",
      ISTHMUS_REGISTRY: registryUrl,
      ISTHMUS_IDENTITY_TOKEN_FILE: join(directory, "identity"),
    },
    command,
  );
}

/** Every tenth Service is exported: its endpoints are what an agent tells its data plane. */
function fill({ double }: KubeApi): void {
  double?.put("namespaces", namespace("shop"));
  for (let index = 0; index < SERVICES; index++) {
    const labels: Record<string, string> = index % 10 === 0 ? { "isthmus.dev/export": "true" } : {};
    double?.put("services", service(`s${index}`, { labels }));
    double?.put("endpointslices", sliceOf(index, 0));
  }
}

function sliceOf(index: number, shift: number): object {
  const addresses = Array.from({ length: ENDPOINTS_EACH }, (_, at) => {
    const number = index * ENDPOINTS_EACH + at + shift * 60_000;
    return `10.${(number >> 16) & 255}.${(number >> 8) & 255}.${number & 255}`;
  });
  return slice(`s${index}`, { ports: [{ name: "http", port: 8080 }], addresses });
}

/** CPU time of the process so far; a tick of the kernel's is 10 ms. */
function cpuMs({ child }: MemberProcess): number {
  const [, fields = ""] = readFileSync(`/proc/${child.pid}/stat`, "utf8").split(") ");
  const [user = "0", system = "0"] = fields.split(" ").slice(11, 13);
  return (Number(user) + Number(system)) * 10;
}

let idleSince = 0;
let lastCpu = 0;
/** Three seconds without work worth a tick. */
function quiet(member: MemberProcess): true | undefined {
  const now = cpuMs(member);
  if (now - lastCpu > 20) idleSince = performance.now();
  lastCpu = now;
  return performance.now() - idleSince > 3_000 ? true : undefined;
}

/** MB, the median of some readings: V8 gives back what it does not need in its own time. */
async function rested(member: MemberProcess): Promise<number> {
  const readings: number[] = [];
  for (let reading = 0; reading < 15; reading++) {
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    readings.push((residentMiB(member.child) * 1_048_576) / 1e6);
  }
  return readings.sort((a, b) => a - b)[7] ?? Number.NaN;
}

try {
  process.exitCode = (await measure()) ? 0 : 1;
} finally {
  for (const stop of stops.reverse()) await stop();
}
