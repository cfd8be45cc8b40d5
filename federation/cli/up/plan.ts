import { formatAddress, parseAddress } from "../../model/address.ts";
import { type AppliedResource, sourceClusters, type WorkloadListenerStatus } from "../../model/resource.ts";
import { serviceKey } from "../../model/service.ts";
import type { StaticCluster } from "../../model/static-cluster.ts";
import type { LocalCluster, LocalFederation, LocalRegistry } from "../../model/wire/local-federation.ts";
import { FileIndex, importedService } from "../input/file-index.ts";

export type Role = "registry" | "gateway" | "agent";

/** One process that `up` keeps alive. */
export interface ProcessSpec {
  /** `registry`, `east-gateway-1`: names its log file. */
  readonly name: string;
  readonly role: Role;
  readonly cluster?: string;
  /** Whether workloads of its cluster connect to it. */
  readonly servesWorkloads: boolean;
  /** Clusters to which it needs a tunnel before calls can pass; its own, where agents and gateways talk. */
  readonly tunnelsTo: readonly string[];
  /** Its settings, on top of the environment of `up` itself. */
  readonly env: { readonly [key: string]: string };
}

export interface ClusterPlan {
  readonly name: string;
  readonly stateDir: string;
  readonly servicesFile: string;
  readonly services: StaticCluster;
  readonly processes: readonly ProcessSpec[];
}

export interface FederationPlan {
  readonly name: string;
  readonly stateDir: string;
  readonly registryUrl: string;
  readonly adminTokenFile: string;
  readonly configFile: string;
  readonly registry: ProcessSpec;
  readonly clusters: readonly ClusterPlan[];
  readonly resources: readonly AppliedResource[];
  /** Every local address that must exist once all is ready. */
  readonly imports: readonly ExpectedImport[];
}

export type ExpectedImport = Omit<WorkloadListenerStatus, "address"> & { readonly cluster: string };

/** The one host of a federation that lives on one machine. */
const HOST = "127.0.0.1";

/** How many free ports the plan needs: the registry's, if it may be any, and one for each member's tunnels. */
export function portsNeeded(federation: LocalFederation): number {
  const members = federation.spec.clusters.map((cluster) => cluster.gateways + agentsOf(cluster));
  return registryAddress(federation).port === 0 ? 1 + sum(members) : sum(members);
}

/** Decides everything that can be decided before anything runs. `ports` are free and as many as `portsNeeded`. */
export function planFederation(
  federation: LocalFederation,
  resources: readonly AppliedResource[],
  stateDir: string,
  ports: readonly number[],
): FederationPlan {
  const free = ports.values();
  const file = new FileIndex(federation, resources);
  const wanted = registryAddress(federation);
  const listen = { host: wanted.host, port: wanted.port === 0 ? take(free) : wanted.port };
  const registryUrl = `http://${formatAddress({ host: reachable(listen.host), port: listen.port })}`;
  const registryDir = `${stateDir}/registry`;
  return {
    name: federation.metadata.name,
    stateDir,
    registryUrl,
    adminTokenFile: `${registryDir}/admin.token`,
    configFile: `${stateDir}/config.yaml`,
    registry: {
      name: "registry",
      role: "registry",
      servesWorkloads: false,
      tunnelsTo: [],
      env: {
        ISTHMUS_STATE_DIR: registryDir,
        ISTHMUS_LISTEN: formatAddress(listen),
        ISTHMUS_FEDERATION: federation.metadata.name,
        ...storeSettings(federation.spec.registry),
      },
    },
    clusters: federation.spec.clusters.map((cluster) =>
      planCluster(cluster, ownersOfImports(cluster.name, resources, file), stateDir, registryUrl, free),
    ),
    resources,
    imports: expectedImports(file, resources),
  };
}

function storeSettings({ store, table, endpoint }: LocalRegistry): Record<string, string> {
  if (store === "sqlite") return {};
  return {
    ISTHMUS_STORE: store,
    ...(table === undefined ? {} : { ISTHMUS_DYNAMODB_TABLE: table }),
    ...(endpoint === undefined ? {} : { ISTHMUS_DYNAMODB_ENDPOINT: endpoint }),
  };
}

function planCluster(
  cluster: LocalCluster,
  owners: readonly string[],
  stateDir: string,
  registry: string,
  free: Iterator<number>,
): ClusterPlan {
  const clusterDir = `${stateDir}/clusters/${cluster.name}`;
  const servicesFile = `${clusterDir}/services.yaml`;
  const gateways = addresses(cluster.gateways, free);
  const agents = addresses(agentsOf(cluster), free);
  const member = (role: "gateway" | "agent", listen: string, index: number): ProcessSpec => ({
    name: `${cluster.name}-${role}-${index + 1}`,
    role,
    cluster: cluster.name,
    servesWorkloads: role === "agent" || agents.length === 0,
    tunnelsTo: [...(agents.length === 0 ? [] : [cluster.name]), ...(role === "gateway" ? owners : [])],
    env: {
      ISTHMUS_STATE_DIR: clusterDir,
      ISTHMUS_MEMBER: `${role}-${index + 1}`,
      ISTHMUS_LISTEN: listen,
      ...(role === "gateway" ? { ISTHMUS_ADVERTISE: listen } : {}),
      ISTHMUS_SERVICES_FILE: servicesFile,
      ISTHMUS_REGISTRY: registry,
    },
  });
  return {
    name: cluster.name,
    stateDir: clusterDir,
    servicesFile,
    services: {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "StaticCluster",
      metadata: { name: cluster.name },
      spec: { gateways, agents, workloads: cluster.workloads },
    },
    processes: [
      ...gateways.map((listen, index) => member("gateway", listen, index)),
      ...agents.map((listen, index) => member("agent", listen, index)),
    ],
  };
}

/** One address per workload, imported service and port, for imports whose owner exports them. */
function expectedImports(file: FileIndex, resources: readonly AppliedResource[]): readonly ExpectedImport[] {
  return resources.flatMap((resource) => {
    if (resource.kind !== "ServiceImport" || file.exportOf(resource) === undefined) return [];
    const { metadata, spec } = resource;
    const { cluster } = metadata;
    const key = serviceKey(importedService(resource));
    const ports = file.clusters.get(spec.from.cluster)?.services.get(key)?.ports ?? [];
    const workloads = file.clusters.get(cluster)?.workloads ?? [];
    return workloads.flatMap((workload) =>
      ports.map(({ port }) => ({ cluster, workload, service: serviceKey(metadata), port })),
    );
  });
}

/** Clusters whose services this one imports and may use. */
function ownersOfImports(
  cluster: string,
  resources: readonly AppliedResource[],
  file: FileIndex,
): readonly string[] {
  const owners = resources.flatMap((resource) =>
    resource.kind === "ServiceImport" && resource.metadata.cluster === cluster
      ? sourceClusters(resource).filter((owner) => file.exportOf(resource, owner) !== undefined)
      : [],
  );
  return [...new Set(owners)].filter((owner) => owner !== cluster);
}

function agentsOf(cluster: LocalCluster): number {
  return cluster.agents ? cluster.agentReplicas : 0;
}

function addresses(count: number, free: Iterator<number>): readonly string[] {
  return Array.from({ length: count }, () => formatAddress({ host: HOST, port: take(free) }));
}

function take(free: Iterator<number>): number {
  const next = free.next();
  return next.done === true ? 0 : next.value;
}

function registryAddress(federation: LocalFederation) {
  const parsed = parseAddress(federation.spec.registry.listen);
  // The schema refused what does not parse.
  return parsed.ok ? parsed.value : { host: HOST, port: 0 };
}

/** A registry that listens on every address is dialled on this machine's own. */
function reachable(host: string): string {
  if (host === "0.0.0.0") return HOST;
  return host === "::" ? "::1" : host;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
