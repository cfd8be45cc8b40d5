import { Agent, request as httpRequest } from "node:http";
import type { AuthorizationPolicyResource, TrafficRouteResource } from "../../federation/model/resource.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import type { StaticCluster, StaticWorkload } from "../../federation/model/static-cluster.ts";
import type { TrafficRouteSpec } from "../../federation/model/traffic-route.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { compileSnapshot } from "../../federation/registry/compile-snapshot.ts";
import { conditionsOf } from "../../federation/registry/conditions.ts";
import { type Echo, type EchoBackend, startEchoBackend } from "./echo-backend.ts";
import { freePort } from "./free-ports.ts";
import { H2Client } from "./h2-ask.ts";
import { addressOf } from "./http-wire.ts";
import { type MeshMember, startMember } from "./mesh-member.ts";
import { createTestFederation } from "./pki.ts";
import { federationState } from "./traffic-state.ts";
import { until } from "./until.ts";

export interface Ask {
  /** `web` unless given. */
  readonly caller?: "web" | "batch" | "reader";
  /** `cart.shop` unless given. */
  readonly service?: string;
  /** 80 unless given. */
  readonly port?: number;
  readonly method?: string;
  readonly headers?: { readonly [name: string]: string | readonly string[] };
  readonly body?: string;
}

export interface Reply {
  readonly status: number;
  readonly headers: { readonly [name: string]: string | string[] | undefined };
  readonly text: string;
  /** What the backend saw; only of its usual answer. */
  readonly echo: Echo;
}

export type BackendName = "cart-v1" | "cart-v2" | "stock" | "west-cart";

/**
 * Two clusters with an agent and a gateway each, and the registry's own rules in front of them: routes are decoded, compiled and
 * published as the registry does it, and requests go the real way, from `web` of west (or another caller) through four hops to
 * backends that tell what they got. East has cart.shop in two versions and stock.shop; west has a cart.shop of its own as well,
 * and imports it from both clusters as everywhere.shop.
 */
export interface TrafficWorld {
  readonly protocol: Protocol;
  readonly backends: { readonly [N in BackendName]: EchoBackend };
  /** Puts exactly these routes and policies in force; answers their conditions, `<type> <status> <reason>`. */
  route(...routes: readonly Put[]): readonly string[];
  ask(path: string, ask?: Ask): Promise<Reply>;
  address(caller: string, service?: string, port?: number): string;
  /** Sum of a counter's series of the entry whose labels contain all of these. */
  metric(name: string, ...labels: readonly string[]): number;
  member(name: string): MeshMember;
  stop(): Promise<void>;
}

/** What the clients speak, and so what the backends are spoken to in. */
export type Protocol = "HTTP/1.1" | "HTTP/2";

type Put = TrafficRouteResource | AuthorizationPolicyResource;

const FEDERATION = "test.mesh";
const API = "isthmus.dev/v1alpha1" as const;

/** A route of west's namespace shop about cart.shop, unless something else is said. */
export function trafficRoute(
  rules: TrafficRouteSpec["rules"],
  change: {
    readonly name?: string;
    readonly namespace?: string;
    readonly cluster?: string;
    readonly firstSeen?: string;
    readonly spec?: Partial<TrafficRouteSpec>;
  } = {},
): TrafficRouteResource {
  const {
    name = "route",
    namespace = "shop",
    cluster = "west",
    firstSeen = "2026-01-01T00:00:00Z",
    spec,
  } = change;
  const document = {
    apiVersion: API,
    kind: "TrafficRoute",
    metadata: { cluster, namespace, name, firstSeen },
    spec: { parentRefs: [{ name: "cart" }], rules, ...spec },
  };
  const decoded = decodeAppliedResource(document);
  if (!decoded.ok) throw new Error(JSON.stringify(decoded.error, null, 1));
  return decoded.value as TrafficRouteResource;
}

/** Without agents the gateways serve workloads themselves. */
export async function startTrafficWorld({
  agents = true,
  protocol = "HTTP/1.1",
}: {
  readonly agents?: boolean;
  readonly protocol?: Protocol;
} = {}): Promise<TrafficWorld> {
  const federation = createTestFederation(FEDERATION, ["east", "west"]);
  const names = ["cart-v1", "cart-v2", "stock", "west-cart"] as const;
  const started = await Promise.all(names.map((name) => startEchoBackend(name)));
  const backends = Object.fromEntries(
    names.map((name, index) => [name, started[index]]),
  ) as TrafficWorld["backends"];
  const east: readonly StaticWorkload[] = [
    workload("shop", "cart-v1", service("cart", backends["cart-v1"].address, "v1")),
    workload("shop", "cart-v2", service("cart", backends["cart-v2"].address, "v2")),
    workload("shop", "stock", service("stock", backends.stock.address)),
    // Another port, with another workload behind it.
    workload("shop", "stock-admin", { ...service("stock", backends["cart-v2"].address), port: 8080 }),
  ];
  const west: readonly StaticWorkload[] = [
    workload("shop", "web"),
    workload("shop", "batch"),
    workload("blog", "reader"),
    workload("shop", "cart", service("cart", backends["west-cart"].address, "local")),
  ];
  const gateways = new Map<string, readonly string[]>([
    ["east", []],
    ["west", []],
  ]);
  const state = (routes: readonly Put[]) => federationState({ east, west }, gateways, routes);
  let revision = 0;
  const snapshotOf = (cluster: string, routes: readonly Put[]): Snapshot => {
    const now = state(routes);
    const found = now.clusters.get(cluster);
    if (found === undefined) throw new Error(`no cluster ${cluster}`);
    const content = compileSnapshot(now, found, { sequence: 1, x509Authorities: [] });
    revision += 1;
    return { ...content, bundles: federation.bundles, revision, issuedAt: "2026-01-01T00:00:00Z" };
  };
  const members = new Map<string, MeshMember>();
  const start = async (
    cluster: "east" | "west",
    role: "gateway" | "agent",
    spec: Partial<StaticCluster["spec"]>,
    listen?: number,
  ) => {
    const workloads = cluster === "east" ? east : west;
    const services = {
      apiVersion: API,
      kind: "StaticCluster",
      metadata: { name: cluster },
      spec: { gateways: [], agents: [], workloads, ...spec },
    } as const;
    const member = await startMember(federation, cluster, role, services, snapshotOf(cluster, []), {
      port: listen,
    });
    members.set(`${cluster} ${role}`, member);
    return member.listen;
  };
  // Inside out: what others need to know of is started first, so that no address has to be guessed.
  const eastAgents = agents ? [await start("east", "agent", {})] : [];
  gateways.set("east", [await start("east", "gateway", { agents: eastAgents })]);
  // West's agent and gateway need each other's address, so one of them is chosen beforehand.
  const port = await freePort();
  const gateway = `127.0.0.1:${port}`;
  const westAgents = agents ? [await start("west", "agent", { gateways: [gateway] })] : [];
  gateways.set("west", [await start("west", "gateway", { agents: westAgents }, port)]);
  const entry = members.get(agents ? "west agent" : "west gateway");
  if (entry === undefined) throw new Error("west's entry did not start");
  await until("west reaches east", 10_000, () =>
    members
      .get("west gateway")
      ?.proxy.tunnels()
      .some(({ cluster, state: is }) => cluster === "east" && is === "up") === true &&
    entry.proxy.unready() === undefined &&
    entry.proxy.listeners().length === 16
      ? true
      : undefined,
  );
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const http2 = new H2Client();
  const world: TrafficWorld = {
    protocol,
    backends,
    route(...routes) {
      for (const [name, { snapshot }] of members) {
        const [cluster = ""] = name.split(" ");
        snapshot.publish(snapshotOf(cluster, routes));
      }
      const now = state(routes);
      return routes.flatMap((one) =>
        conditionsOf(now, one).map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      );
    },
    address(caller, service = "cart.shop", port = 80) {
      const workloadName = caller === "reader" ? "ns/blog/sa/reader" : `ns/shop/sa/${caller}`;
      const found = entry.proxy
        .listeners()
        .find((one) => one.workload === workloadName && one.service === service && one.port === port);
      if (found === undefined) throw new Error(`${caller} has no address for ${service}`);
      return found.address;
    },
    async ask(path, ask = {}) {
      const address = world.address(ask.caller ?? "web", ask.service, ask.port);
      const answer = await (protocol === "HTTP/2"
        ? http2.ask(address, path, ask)
        : askOnce(agent, address, path, ask));
      return {
        ...answer,
        get echo() {
          return JSON.parse(answer.text) as Echo;
        },
      };
    },
    metric(name, ...labels) {
      let sum = 0;
      for (const line of entry.proxy.metrics().split("\n")) {
        if (line.startsWith(`${name}{`) && labels.every((label) => line.includes(label)))
          sum += Number(line.slice(line.lastIndexOf(" ") + 1));
      }
      return sum;
    },
    member(name) {
      const found = members.get(name);
      if (found === undefined) throw new Error(`no member ${name}`);
      return found;
    },
    async stop() {
      agent.destroy();
      http2.close();
      for (const { proxy } of members.values()) proxy.close();
      await Promise.all(Object.values(backends).map((backend) => backend.stop()));
    },
  };
  return world;
}

function askOnce(agent: Agent, address: string, path: string, ask: Ask): Promise<Omit<Reply, "echo">> {
  return new Promise((resolve, reject) => {
    const { host, port } = addressOf(address);
    const headers = { host: "cart.shop", ...ask.headers } as { [name: string]: string | string[] };
    const request = httpRequest(
      { agent, host, port, path, method: ask.method ?? "GET", headers },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", reject);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString();
          const { statusCode: status = 0 } = response;
          resolve({ status, headers: response.headers, text });
        });
      },
    );
    request.on("error", reject);
    request.end(ask.body);
  });
}

function workload(namespace: string, name: string, ...services: StaticWorkload["services"]): StaticWorkload {
  return { namespace, name, serviceAccount: name, services };
}

function service(name: string, address: string, version?: string): StaticWorkload["services"][number] {
  const rest = version === undefined ? {} : { version };
  return { name, port: 80, protocol: "http", endpoints: [address], ...rest };
}
