// Longer than other files: the parts of a cluster and how they are put together are read as one.
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import type { KubeAccess } from "../../agents/kubernetes/api/access.ts";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import { NAMESPACES, pathOf, type ResourceType } from "../../agents/kubernetes/api/resource-type.ts";
import { Controller } from "../../agents/kubernetes/controller.ts";
import { findInstallation } from "../../agents/kubernetes/member.ts";
import { KubernetesSource } from "../../agents/kubernetes/source.ts";
import { installManifest } from "../../federation/cli/install/manifest.ts";
import { createLogger, type LogFields } from "../../federation/model/log.ts";
import { VERSION } from "../../federation/model/version.ts";
import { createWatch, type PublishableWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { type Discovery, joinCluster, openDiscovery } from "../../gateway/discovery/index.ts";
import { buildGateway } from "../../gateway/edge/stack.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { NOTHING_OUTSIDE } from "../../gateway/process/outside.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import type { Proxy } from "../../gateway/process/proxy.ts";
import { foreignDefinitions } from "./kube-api/foreign-crds.ts";
import { type FakeKubeApi, startFakeKubeApi } from "./kube-api/server.ts";
import { KUBE_APISERVER, type RealKubeApi, type RealKubeOptions, startRealKubeApi } from "./kube-api/real.ts";
import { unwrap } from "./pki.ts";
import { type RegistryProcess, startRegistryProcess } from "./registry-process.ts";
import { until } from "./until.ts";

const OVERLAYS = fileURLToPath(new URL("../../infra/kubernetes/overlays", import.meta.url));

/** An API server, the double or a real one, with the few things that people and controllers of a cluster do to it. */
export interface KubeApi {
  readonly access: KubeAccess;
  readonly client: KubeClient;
  /** Only where it is the double. */
  readonly double?: FakeKubeApi;
  readonly real?: RealKubeApi;
  put(type: ResourceType, object: object): Promise<KubeObject>;
  remove(type: ResourceType, namespace: string | undefined, name: string): Promise<void>;
  list(type: ResourceType, namespace?: string): Promise<readonly KubeObject[]>;
  get(type: ResourceType, namespace: string | undefined, name: string): Promise<KubeObject | undefined>;
  /** Cuts all connections and takes none; a real one is killed, its etcd too. */
  down(): Promise<void>;
  /** Whoever goes on from an old version is told that it is too old. */
  up(): Promise<void>;
  close(): Promise<void>;
}

export async function startKubeApi(options: RealKubeOptions = {}): Promise<KubeApi> {
  if (KUBE_APISERVER === undefined) {
    const double = await startFakeKubeApi(options);
    return kubeApi({ url: new URL(double.url), token: () => undefined }, () => double.close(), { double });
  }
  const real = await startRealKubeApi(options);
  try {
    installManifests(real.kubeconfig);
  } catch (error) {
    await real.stop();
    throw error;
  }
  return kubeApi(real.access, () => real.stop(), { real });
}

/** As a user installs it, judged strictly: the processes then run with the rights that this gives them, and no others. */
function installManifests(kubeconfig: string): void {
  const manifest = installManifest({ registry: "http://127.0.0.1:1", advertise: "127.0.0.1:15008" });
  kubectl(kubeconfig, manifest, "apply", "--validate=strict", "-f", "-");
  kubectl(kubeconfig, foreignDefinitions(), "apply", "-f", "-");
  kubectl(kubeconfig, "", "wait", "--for", "condition=established", "--timeout=30s", "crd", "--all");
}

/** An agent on every node, as an overlay has it: their roles, and a namespace that admits them. */
export const installAgents = (api: KubeApi): void => installOverlay(api, "agents");

/** The CA's key is with an issuer, as an overlay has it: gateways may do other things. */
export const installExternalCa = (api: KubeApi): void => installOverlay(api, "external-ca");

function installOverlay({ real }: KubeApi, name: string): void {
  const overlay = join(OVERLAYS, name);
  if (real !== undefined) kubectl(real.kubeconfig, "", "apply", "--validate=strict", "-k", overlay);
}

function kubectl(kubeconfig: string, input: string, ...args: readonly string[]): void {
  const done = spawnSync("kubectl", ["--kubeconfig", kubeconfig, ...args], { encoding: "utf8", input });
  if (done.status !== 0) throw new Error(`kubectl ${args.join(" ")}: ${done.stderr}`);
}

/** A client with the rights of one of our service accounts; the double gives everyone all. */
export async function clientAs(api: KubeApi, account: string): Promise<KubeClient> {
  return createKubeClient(await accessAs(api, account));
}

export async function accessAs(api: KubeApi, account: string): Promise<KubeAccess> {
  if (api.real === undefined) return api.access;
  const answer = await api.client.request({
    method: "POST",
    path: `/api/v1/namespaces/isthmus-system/serviceaccounts/${account}/token`,
    body: { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} },
  });
  if (!answer.ok) throw new Error(answer.error.message);
  const { status } = answer.value as { status: { token: string } };
  return api.real.accessWith(status.token);
}

function kubeApi(
  access: KubeAccess,
  stop: () => Promise<void>,
  which: Pick<KubeApi, "double" | "real">,
): KubeApi {
  const client = createKubeClient(access);
  const patch = async (type: ResourceType, object: KubeObject, subresource?: string): Promise<KubeObject> => {
    const { namespace, name } = object.metadata;
    const answer = await client.request({
      method: "PATCH",
      path: pathOf(type, namespace === undefined ? { name } : { namespace, name }, subresource),
      query: { fieldManager: "test", force: "true" },
      body: {
        apiVersion: type.group === "" ? type.version : `${type.group}/${type.version}`,
        kind: type.kind,
        ...object,
      },
      contentType: "application/apply-patch+yaml",
    });
    if (!answer.ok) throw new Error(`${type.plural} ${name}: ${answer.error.message}`);
    return answer.value as KubeObject;
  };
  return {
    access,
    client,
    ...which,
    async put(type, object) {
      const given = object as KubeObject;
      const { status, ...rest } = given;
      const made = await patch(type, rest);
      return status === undefined ? made : patch(type, { metadata: { ...given.metadata }, status }, "status");
    },
    async remove(type, namespace, name) {
      const path = pathOf(type, namespace === undefined ? { name } : { namespace, name });
      const answer = await client.request({ method: "DELETE", path });
      if (!answer.ok && answer.error.kind !== "not_found") throw new Error(answer.error.message);
    },
    async list(type, namespace) {
      const answer = await client.request({
        method: "GET",
        path: pathOf(type, namespace === undefined ? {} : { namespace }),
      });
      if (!answer.ok) throw new Error(answer.error.message);
      return (answer.value as { items: KubeObject[] | null }).items ?? [];
    },
    async get(type, namespace, name) {
      const answer = await client.request({
        method: "GET",
        path: pathOf(type, namespace === undefined ? { name } : { namespace, name }),
      });
      return answer.ok ? (answer.value as KubeObject) : undefined;
    },
    down: () => (which.real ?? which.double)?.down() ?? Promise.resolve(),
    async up() {
      which.double?.store.compact();
      await (which.real ?? which.double)?.up();
      // A pooled connection may not have heard yet that it was cut.
      await until("it answers us", 10_000, async () => {
        const answer = await client.request({ method: "GET", path: pathOf(NAMESPACES, {}) });
        return answer.ok ? true : undefined;
      });
    },
    async close() {
      client.close();
      await stop();
    },
  };
}

/** Gateways share their ports with their like, whoever runs them: two tests at once would answer each other's calls. */
const OWN_NET = process.pid % 256;

/**
 * An address of this machine that a pod may have. A real API server refuses loopback addresses in EndpointSlices: with one,
 * the suites run in a network namespace where all of 198.18.0.0/17 is local (`npm run test:kubernetes`).
 */
export function localAddress(host: number, net = 0): string {
  return KUBE_APISERVER === undefined ? `127.${net}.${OWN_NET}.${host}` : `198.18.${net}.${host}`;
}

export interface KubeCluster {
  readonly name: string;
  readonly api: KubeApi;
  readonly controller: Controller;
  readonly leading: PublishableWatch<boolean>;
  readonly gateway: Proxy;
  /** What the gateway knows of its cluster. */
  readonly source: KubernetesSource;
  /** Where the gateways listen for pods. */
  readonly gatewayHost: string;
  /** Where their tunnels end there. */
  readonly tunnelPort: number;
  /** Its membership. */
  readonly stateDir: string;
  readonly discovery: Discovery;
  readonly log: readonly LogFields[];
  stop(): void;
}

export interface KubeWorld {
  readonly registry: RegistryProcess;
  readonly clusters: ReadonlyMap<string, KubeCluster>;
  cluster(name: string): KubeCluster;
  close(): Promise<void>;
}

/** A registry and clusters with an API server, a controller and a gateway each; pods and the service proxy are played. */
export async function startKubeWorld(names: readonly string[]): Promise<KubeWorld> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-kube-world-"));
  const registry = await startRegistryProcess(join(directory, "registry"));
  const apis = await Promise.all(names.map(() => startKubeApi()));
  const clusters = new Map<string, KubeCluster>();
  for (const [index, name] of names.entries()) {
    const api = apis[index];
    if (api === undefined) throw new Error("no API server");
    clusters.set(name, await startKubeCluster(registry, directory, name, api, localAddress(index + 1, 1)));
  }
  return {
    registry,
    clusters,
    cluster(name) {
      const found = clusters.get(name);
      if (found === undefined) throw new Error(`no cluster ${name}`);
      return found;
    },
    async close() {
      for (const cluster of clusters.values()) cluster.stop();
      await Promise.all(apis.map((api) => api.close()));
      await registry.end("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function startKubeCluster(
  registry: RegistryProcess,
  directory: string,
  name: string,
  api: KubeApi,
  gatewayHost: string,
): Promise<KubeCluster> {
  const stateDir = join(directory, name);
  const registered = await fetch(`${registry.url}/v1/clusters`, {
    method: "POST",
    headers: { authorization: `Bearer ${registry.token}`, "content-type": "application/json" },
    body: JSON.stringify({ name }),
  });
  const { token } = (await registered.json()) as { token: string };
  const state = unwrap(await joinCluster({ registryUrl: registry.url, token, stateDir, clock: systemClock }));
  const log: LogFields[] = [];
  const logger = createLogger((line) => log.push(JSON.parse(line) as LogFields), Date.now, "info", {
    cluster: name,
  });
  const common = { stateDir, version: VERSION, log: logger, clock: systemClock, random: Math.random };
  const [asGateway, asController] = await Promise.all([
    clientAs(api, "gateway"),
    clientAs(api, "controller"),
  ]);
  const source = new KubernetesSource({
    ...common,
    client: asGateway,
    trustDomain: state.trustDomain,
    role: "gateway",
  });
  const discovery = unwrap(
    await openDiscovery({ ...common, role: "gateway", member: "gateway-1", servicesSource: source }),
  );
  const own = unwrap(await openDiscovery({ ...common, role: "controller", member: "controller-1" }));
  const context: MemberContext = {
    config: {} as MemberContext["config"],
    discovery,
    log: logger,
    now: Date.now,
    monotonicMs: () => performance.now(),
    random: Math.random,
    outside: NOTHING_OUTSIDE,
    claims: { isShared: () => true, claim: () => {} },
    onChange: () => {},
  };
  const gateway = buildGateway(context);
  source.start();
  const bound = await gateway.start({ host: gatewayHost, port: 0 });
  discovery.startReporting(() => ({
    listeners: [],
    tunnels: gateway.tunnels(),
    advertise: `${gatewayHost}:${bound.port}`,
  }));
  const leading = createWatch(true);
  const controller = new Controller({
    client: asController,
    ...(await findInstallation(asController, logger)),
    cluster: name,
    snapshot: own.snapshot,
    registry: own.registry,
    leading,
    clock: systemClock,
    random: Math.random,
    log: logger,
  });
  controller.start();
  return {
    name,
    api,
    controller,
    leading,
    gateway,
    source,
    gatewayHost,
    tunnelPort: bound.port,
    stateDir,
    discovery,
    log,
    stop() {
      controller.stop();
      source.stop();
      gateway.close();
      discovery.stop();
      own.stop();
      asGateway.close();
      asController.close();
    },
  };
}

/** What kube-proxy would do: a connection from a pod's address to a Service's endpoint of the derived slices. */
export function dial(from: string, to: { readonly address: string; readonly port: number }): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: to.address, port: to.port, localAddress: from });
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** One HTTP/1.1 request over a new connection; answers status line and body. */
export async function call(
  from: string,
  to: { readonly address: string; readonly port: number },
  host = "cart",
): Promise<{ readonly status: number; readonly body: string }> {
  const socket = await dial(from, to);
  socket.end(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  const [head = "", body = ""] = text.split("\r\n\r\n");
  return { status: Number(head.split(" ")[1] ?? "0"), body };
}

export { until };
