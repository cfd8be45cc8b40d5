import type { TunnelStatus } from "../../federation/model/resource.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import type { PortProtocol, ServiceEndpoint } from "../../federation/model/service.ts";
import { type SpiffeId, type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import type { StaticCluster, StaticWorkload } from "../../federation/model/static-cluster.ts";
import type { Outside } from "../../gateway/process/outside.ts";
import { emptySnapshot } from "./fake-registry.ts";
import { type MeshMember, startMember } from "./mesh-member.ts";
import { createTestFederation, type TestFederation } from "./pki.ts";
import { until } from "./until.ts";

export interface MeshOptions {
  readonly agents?: boolean;
  /** Two gateways in each cluster instead of one: `east gateway 2` and `west gateway 2` beside the first ones. */
  readonly twoGateways?: boolean;
  readonly protocol?: PortProtocol;
  /** Endpoint of cart.shop in east. */
  readonly endpoint: string;
  /** Its endpoints in east, instead of that one. */
  readonly endpoints?: readonly ServiceEndpoint[];
  /** A third cluster, north, exports cart.shop as well, from these endpoints. */
  readonly north?: readonly ServiceEndpoint[];
  readonly change?: (snapshot: Snapshot) => Snapshot;
  /** West's workloads; `web` and `batch` of `shop` unless given. */
  readonly callers?: readonly { readonly namespace: string; readonly name: string }[];
  /** Secrets, names and guarded ranges of the gateways. */
  readonly outside?: Outside;
  /** A clock of the test's own, so that time-outs need no waiting. */
  readonly now?: () => number;
  /** The same as `now` where that is given. */
  readonly monotonicMs?: () => number;
}

/** Two clusters in this process, without a registry: east exports cart.shop to west's web; west also runs batch. */
export interface Mesh {
  readonly federation: TestFederation;
  /** `east gateway`, `east agent`, … */
  readonly members: ReadonlyMap<string, MeshMember>;
  member(name: string): MeshMember;
  /** Local address of cart.shop:80 for a workload of west, `ns/shop/sa/web`. */
  address(workload: string): string;
  /** Publishes a changed snapshot to every member. */
  publish(change: (snapshot: Snapshot) => Snapshot): void;
  close(): void;
}

const FEDERATION = "test.mesh";
const CALLERS = [
  { namespace: "shop", name: "web" },
  { namespace: "shop", name: "batch" },
];

export async function startMesh(options: MeshOptions): Promise<Mesh> {
  const exporters = options.north === undefined ? ["east"] : ["east", "north"];
  const federation = createTestFederation(FEDERATION, [...exporters, "west"]);
  const members = new Map<string, MeshMember>();
  const agents = options.agents !== false;
  const { callers = CALLERS } = options;
  const gateways = new Map<string, readonly string[]>();
  const start = async (cluster: string, role: "gateway" | "agent", services: StaticCluster, suffix = "") => {
    const base = snapshotOf(federation, cluster, gateways, options);
    const first = options.change?.(base) ?? base;
    const started = await startMember(federation, cluster, role, services, first, options);
    members.set(`${cluster} ${role}${suffix}`, started);
    return started;
  };
  const startGateways = async (cluster: string, services: StaticCluster) => {
    const started = [await start(cluster, "gateway", services)];
    if (options.twoGateways === true) started.push(await start(cluster, "gateway", services, " 2"));
    return started.map(({ listen }) => listen);
  };
  // Inside out: what others need to know of is started first, so that no address has to be guessed.
  for (const exporter of exporters) {
    const agent = agents
      ? await start(exporter, "agent", staticCluster(exporter, [], [], options))
      : undefined;
    const services = staticCluster(exporter, [], listOf(agent), options);
    gateways.set(exporter, await startGateways(exporter, services));
  }
  // West's gateway serves workloads itself only where there is no agent; a placeholder tells it that there is one.
  const westGateways = await startGateways(
    "west",
    staticCluster("west", [], agents ? ["127.0.0.1:9"] : [], options),
  );
  if (agents) await start("west", "agent", staticCluster("west", westGateways, [], options));
  const entry = members.get(agents ? "west agent" : "west gateway");
  for (const exporter of exporters) {
    const tunnelUp = ({ cluster, state }: TunnelStatus) => cluster === exporter && state === "up";
    const tunnels = () => members.get("west gateway")?.proxy.tunnels().find(tunnelUp);
    await until(`west reaches ${exporter}`, 5_000, tunnels);
  }
  await until("west's entry is ready", 5_000, () =>
    entry?.proxy.unready() === undefined && entry?.proxy.listeners().length === callers.length
      ? true
      : undefined,
  );
  return mesh(federation, members, agents);
}

function mesh(federation: TestFederation, members: ReadonlyMap<string, MeshMember>, agents: boolean): Mesh {
  const member = (name: string): MeshMember => {
    const found = members.get(name);
    if (found === undefined) throw new Error(`no member ${name}`);
    return found;
  };
  return {
    federation,
    members,
    member,
    address(workload) {
      const listener = member(agents ? "west agent" : "west gateway")
        .proxy.listeners()
        .find((status) => status.workload === workload);
      if (listener === undefined) throw new Error(`no listener for ${workload}`);
      return listener.address;
    },
    publish(change) {
      for (const { snapshot } of members.values()) {
        if (snapshot.current === undefined) continue;
        snapshot.publish({ ...change(snapshot.current), revision: snapshot.current.revision + 1 });
      }
    },
    close() {
      for (const { proxy } of members.values()) proxy.close();
    },
  };
}

function snapshotOf(
  federation: TestFederation,
  cluster: string,
  gateways: ReadonlyMap<string, readonly string[]>,
  { protocol = "http", endpoints = [], north = [] }: MeshOptions,
): Snapshot {
  const domain = (name: string): TrustDomain => federation.cluster(name).trustDomain;
  const exporters = [...gateways.keys()].filter((name) => name !== "west");
  const imports = cluster === "west" ? exporters : [];
  const ports = [{ port: 80, protocol }];
  const service = { namespace: "shop", name: "cart" };
  const versionsOf = (name: string) => {
    const found = new Set((name === "north" ? north : endpoints).flatMap(({ version }) => version ?? []));
    return found.size === 0 ? {} : { versions: [...found] };
  };
  const workloads = ["ns/shop/sa/web"];
  const consumers = [{ cluster: "west", trustDomain: domain("west"), workloads }];
  return {
    ...emptySnapshot(federation, cluster, 1),
    peers: (cluster === "west" ? exporters : ["west"]).map((name) => ({
      cluster: name,
      trustDomain: domain(name),
      gateways: (gateways.get(name) ?? []).map((address, index) => ({ id: `gateway-${index + 1}`, address })),
    })),
    imports: imports.map((name) => ({
      ...service,
      from: { ...service, cluster: name, trustDomain: domain(name) },
      ports,
      ...versionsOf(name),
      workloads,
    })),
    exports: cluster === "west" ? [] : [{ ...service, ports, consumers }],
  };
}

function staticCluster(
  name: string,
  gateways: readonly string[],
  agents: readonly string[],
  {
    endpoint,
    endpoints = [{ address: endpoint }],
    north = [],
    protocol = "http",
    callers = CALLERS,
  }: MeshOptions,
): StaticCluster {
  const workload = (
    account: string,
    services: StaticWorkload["services"],
    namespace = "shop",
  ): StaticWorkload => ({
    namespace,
    name: account,
    serviceAccount: account,
    services,
  });
  const carts = [...Map.groupBy(name === "north" ? north : endpoints, ({ version }) => version)].map(
    ([version, group]) =>
      workload(version === undefined ? "cart" : `cart-${version}`, [
        {
          name: "cart",
          port: 80,
          protocol,
          endpoints: group.map(({ address }) => address),
          ...(version === undefined ? {} : { version }),
        },
      ]),
  );
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "StaticCluster",
    metadata: { name },
    spec: {
      gateways,
      agents,
      workloads:
        name === "west"
          ? callers.map(({ namespace, name: account }) => workload(account, [], namespace))
          : carts,
    },
  };
}

function listOf(member: MeshMember | undefined): readonly string[] {
  return member === undefined ? [] : [member.listen];
}

export function callerOf(federation: TestFederation, cluster: string, account: string): SpiffeId {
  return workloadSpiffeId(federation.cluster(cluster).trustDomain, "shop", account);
}
