import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS,
  SERVICE_EXPORTS,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import type { KubeObject } from "../../agents/kubernetes/api/object.ts";
import { formatAddress } from "../../federation/model/address.ts";
import { namespace, pod, service, serviceExport, slice } from "../kubernetes/objects.ts";
import { memberCommand, podToken, registerCluster, type Role, writeKubeconfig } from "./kube-members.ts";
import { accessAs, installAgents, type KubeApi, startKubeApi } from "./kube-world.ts";
import { Netns } from "./netns.ts";
import { type RegistryProcess, startRegistryProcess } from "./registry-process.ts";
import { until } from "./until.ts";

const HOST = "198.18.251.1";
const SYSTEM = "isthmus-system";
const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;

/** Both clusters use the same addresses for their pods and services: only the gateways' outside addresses differ. */
export interface AddressPlan {
  readonly family: "IPv4" | "IPv6";
  /** In nft's words. */
  readonly nft: "ip" | "ip6";
  readonly pod: string;
  readonly otherPod: string;
  readonly pods: string;
  /** On the node's side of every pod's pair; absent: there is no address. */
  readonly gateway?: string;
  /** Where hosts are, by number. */
  readonly outside: (host: number) => string;
}

export const IPV4_PLAN: AddressPlan = {
  family: "IPv4",
  nft: "ip",
  pod: "10.244.0.10",
  otherPod: "10.244.0.11",
  pods: "10.244.0.0/24",
  gateway: "169.254.7.1",
  outside: (host) => `198.18.251.${host}`,
};

export const IPV6_PLAN: AddressPlan = {
  family: "IPv6",
  nft: "ip6",
  pod: "fd00:244::10",
  otherPod: "fd00:244::11",
  pods: "fd00:244::/64",
  outside: (host) => `fd18:251::${host}`,
};

export interface CapturedCluster {
  readonly name: string;
  readonly node: string;
  readonly gatewayAt: string;
  readonly api: KubeApi;
  readonly logs: Record<Role, string[]>;
  agent: ChildProcess;
}

type Facts = Pick<CapturedCluster, "name" | "node">;

/** How the bytes of `cart` are understood: those of HTTP share what is open already, others are joined one to one. */
export interface CartPort {
  readonly name: string;
  readonly appProtocol?: string;
}

interface Placed {
  readonly address: string;
  readonly node: string;
}

/** Two clusters with overlapping addresses, one node each; `web` in west, `cart` in east, which exports it. */
export class CaptureWorld {
  readonly plan: AddressPlan;
  readonly #port: CartPort;
  readonly netns: Netns;
  readonly directory = mkdtempSync(join(tmpdir(), "isthmus-capture-"));
  readonly #clusters: CapturedCluster[] = [];
  readonly #apis: KubeApi[] = [];
  #registry: RegistryProcess | undefined;

  constructor(plan: AddressPlan, port: CartPort = { name: "http" }) {
    this.plan = plan;
    this.#port = port;
    this.netns = new Netns(plan.family === "IPv4" ? "it" : "iu");
  }

  async start(): Promise<void> {
    this.netns.bridge("br", `${HOST}/24`);
    this.#registry = await startRegistryProcess(join(this.directory, "registry"), {
      ISTHMUS_LISTEN: "0.0.0.0:0",
    });
    for (const [name, host] of [
      ["east", 11],
      ["west", 12],
    ] as const)
      this.#clusters.push(await this.#startCluster(name, host));
    await this.exportCart("east");
  }

  /** The first pod of a cluster serves `cart`, which its cluster exports. */
  async exportCart(name: "east" | "west"): Promise<void> {
    const { api, node } = this.cluster(name);
    const serve = `require("http").createServer((q,s)=>s.end("cart of ${name}")).listen(8080)`;
    this.netns.spawn(`p${name}`, [process.execPath, "-e", serve], {}, []);
    await api.put(SERVICES, service("cart", { ports: [{ port: 80, ...this.#port }] }));
    await this.tellEndpoints(api, "cart", [{ address: this.plan.pod, node }]);
    await api.put(EXPORTS, serviceExport("cart"));
  }

  async stop(): Promise<void> {
    this.netns.remove();
    for (const api of this.#apis) await api.close();
    await this.#registry?.end("SIGKILL");
    rmSync(this.directory, { recursive: true, force: true });
  }

  cluster(name: "east" | "west"): CapturedCluster {
    const found = this.#clusters.find((cluster) => cluster.name === name);
    if (found === undefined) throw new Error(`no cluster ${name}`);
    return found;
  }

  startAgent(facts: Facts, log: string[], role = "agent"): ChildProcess {
    const env = this.#environment(facts, role, { ISTHMUS_LISTEN: "[::]:15009" });
    return this.netns.spawn(facts.node, memberCommand("agent"), env, log);
  }

  /** Another pod of a cluster's node, at the second address. */
  async addPod(cluster: CapturedCluster, space: string, account: string): Promise<void> {
    const { otherPod, gateway } = this.plan;
    this.netns.pod(cluster.node, space, [otherPod], gateway);
    await cluster.api.put(PODS, pod(account, account, otherPod, { node: cluster.node }));
  }

  /** Another node of a cluster, with a pod and an agent of its own. */
  async addNode(
    { name, api, logs }: CapturedCluster,
    host: number,
    pods: string,
    address: string,
  ): Promise<ChildProcess> {
    const facts = { name, node: `n${name}2` };
    this.#attach(facts.node, `x${name[0]}`, host);
    this.netns.run(facts.node, "sysctl -qw net.ipv4.ip_forward=1");
    this.netns.pod(facts.node, `q${name}`, [address], this.plan.gateway);
    this.netns.run(`g${name}`, `ip route add ${pods} via ${this.plan.outside(host)}`);
    this.netns.run(`n${name}`, `ip route add ${pods} via ${this.plan.outside(host)}`);
    await api.put(PODS, pod("cart-2", "cart", address, { node: facts.node }));
    await this.#writeAccess(api, facts, "agent", "agent-2");
    return this.startAgent(facts, logs.agent, "agent-2");
  }

  /** Of `cart`, or of the agents. */
  tellEndpoints(api: KubeApi, of: "cart" | "isthmus-agent", placed: readonly Placed[]): Promise<KubeObject> {
    const space = of === "cart" ? "shop" : SYSTEM;
    const ports =
      of === "cart" ? [{ name: this.#port.name, port: 8080 }] : [{ name: "tunnel", port: 15_009 }];
    const made = slice(of, { namespace: space, ports, addresses: [] });
    const endpoints = placed.map(({ address, node }) => ({ addresses: [address], nodeName: node }));
    return api.put(SLICES, { ...made, addressType: this.plan.family, endpoints });
  }

  #environment({ name, node }: Facts, role: string, more: Record<string, string>): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      ISTHMUS_STATE_DIR: join(this.directory, `${name}-${role}`),
      ISTHMUS_KUBERNETES: join(this.directory, `${name}-${role}.kubeconfig`),
      ISTHMUS_MEMBER: `${role}-1`,
      ISTHMUS_NODE: node,
      ISTHMUS_IDENTITY_TOKEN_FILE: join(this.directory, `${name}-${role}.identity`),
      ISTHMUS_REGISTRY: `http://${HOST}:${new URL(this.#runningRegistry.url).port}`,
      ...more,
    };
  }

  get #runningRegistry(): RegistryProcess {
    if (this.#registry === undefined) throw new Error("no registry runs");
    return this.#registry;
  }

  /** A host on the bridge, with an address of each family. */
  #attach(space: string, device: string, host: number): void {
    this.netns.add(space);
    this.netns.attach("br", space, device, `${IPV4_PLAN.outside(host)}/24`);
    this.netns.run(space, `ip addr add ${IPV6_PLAN.outside(host)}/64 dev ${device} nodad`);
  }

  async #startCluster(name: string, host: number): Promise<CapturedCluster> {
    const { plan, netns } = this;
    const node = `n${name}`;
    this.#attach(node, `w${name[0]}`, host);
    netns.run(node, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
    netns.pod(node, `p${name}`, [plan.pod], plan.gateway);
    // The gateway is a pod of its own, reachable from outside; its way to this cluster's pods is the node.
    this.#attach(`g${name}`, `g${name[0]}`, host + 10);
    netns.run(`g${name}`, `ip route add ${plan.pods} via ${plan.outside(host)}`);
    const gatewayAt = plan.outside(host + 10);
    const api = await startKubeApi({ host: HOST, families: [plan.family] });
    this.#apis.push(api);
    await this.#install(api, { name, node }, plan.outside(host), gatewayAt);
    const logs = { controller: [], gateway: [], agent: [] } as CapturedCluster["logs"];
    await this.#startMembers({ name, node }, gatewayAt, logs);
    return { name, node, gatewayAt, api, logs, agent: this.startAgent({ name, node }, logs.agent) };
  }

  /** What the API server knows of its cluster before our processes start. */
  async #install(api: KubeApi, { name, node }: Facts, nodeAt: string, gatewayAt: string): Promise<void> {
    const { plan } = this;
    installAgents(api);
    await api.put(NAMESPACES, namespace("shop"));
    const account = name === "east" ? "cart" : "web";
    await api.put(PODS, pod(account, account, plan.pod, { node }));
    for (const [of, port, portName] of [
      ["isthmus-gateway", 15008, "tunnel"],
      ["isthmus-agent", 15009, "tunnel"],
      ["isthmus-issuer", 15012, "issuer"],
    ] as const) {
      const ports = [{ name: portName, port }];
      await api.put(SERVICES, service(of, { namespace: SYSTEM, ports }));
      const made = slice(of, { namespace: SYSTEM, ports, addresses: [gatewayAt] });
      await api.put(SLICES, { ...made, addressType: plan.family });
    }
    await this.tellEndpoints(api, "isthmus-agent", [{ address: nodeAt, node }]);
    for (const role of ["agent", "controller", "gateway"] as const)
      await this.#writeAccess(api, { name, node }, role);
  }

  /** How a process speaks to its API server, and what it shows to a gateway to be given its identity. */
  async #writeAccess(
    api: KubeApi,
    { name, node }: Facts,
    account: Role,
    member: string = account,
  ): Promise<void> {
    const file = join(this.directory, `${name}-${member}`);
    writeKubeconfig(`${file}.kubeconfig`, await accessAs(api, account));
    if (account === "gateway") return;
    const own = `isthmus-${member}`;
    await api.put(PODS, pod(own, account, undefined, { node, namespace: SYSTEM }));
    writeFileSync(`${file}.identity`, await podToken(api, { account, pod: own }));
  }

  async #startMembers(facts: Facts, gatewayAt: string, logs: CapturedCluster["logs"]): Promise<void> {
    const { name, node } = facts;
    const { netns } = this;
    const tokenFile = join(this.directory, `${name}.token`);
    writeFileSync(tokenFile, await registerCluster(this.#runningRegistry, name));
    const controller = this.#environment(facts, "controller", { ISTHMUS_LISTEN: "0.0.0.0:15013" });
    netns.spawn(node, memberCommand("controller"), controller, logs.controller);
    const gateway = this.#environment(facts, "gateway", {
      ISTHMUS_ISSUER_LISTEN: "[::]:15012",
      ISTHMUS_JOIN_TOKEN_FILE: tokenFile,
      ISTHMUS_LISTEN: "[::]:15008",
      ISTHMUS_ADVERTISE: formatAddress({ host: gatewayAt, port: 15_008 }),
    });
    netns.spawn(`g${name}`, memberCommand("gateway"), gateway, logs.gateway);
  }

  /** The Service that a cluster derives from what is exported as `cart`. */
  async derived(
    name: "east" | "west" = "west",
  ): Promise<{ readonly clusterIP: string; readonly listen: number }> {
    interface DerivedSpec {
      readonly clusterIP: string;
      readonly ports: readonly { readonly targetPort: number }[];
    }
    const spec = await until(`${name} derives a Service`, 60_000, async () => {
      const services = await this.cluster(name).api.list(SERVICES, "shop");
      const derived = services.find(({ metadata }) => metadata.name.startsWith("imported-"));
      return derived?.spec as DerivedSpec | undefined;
    });
    return { clusterIP: spec.clusterIP, listen: spec.ports[0]?.targetPort ?? 0 };
  }
}
