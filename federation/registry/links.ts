import {
  type ServiceExportResource,
  type ServiceImportResource,
  type ServiceResource,
  sourceClusters,
} from "../model/resource.ts";
import type { ServiceName } from "../model/service.ts";
import type { WorkloadPattern } from "../model/workload-pattern.ts";
import { type ClusterState, type FederationState, serviceId } from "./state.ts";

/** Why an import does not work; each is a reason of its condition. */
export type MissingLink = "ClusterUnknown" | "ClusterPending" | "NotExported" | "NotPermitted" | "NoService";

/** An import whose every half is there. */
export interface Link {
  readonly exporter: ClusterState;
  readonly service: ServiceResource;
  /** Callers of the importing cluster that the owner permits. */
  readonly workloads: readonly WorkloadPattern[];
}

const EVERY_WORKLOAD: readonly WorkloadPattern[] = ["*"];

/** The identifier, in its owner's cluster, of what an import refers to. */
export function sourceId(resource: ServiceImportResource): string {
  const { metadata, spec } = resource;
  return serviceId({
    namespace: spec.from.namespace ?? metadata.namespace,
    name: spec.from.name ?? metadata.name,
  });
}

/**
 * Matches one source of an import with the export it needs: the whole rule of who may use what. A cluster that names itself
 * as a source needs no export: it lets its own workloads reach its own service.
 */
export function resolveImport(
  state: FederationState,
  resource: ServiceImportResource,
  owner: string,
): { readonly link: Link } | { readonly missing: MissingLink } {
  const exporter = state.clusters.get(owner);
  if (exporter === undefined) return { missing: "ClusterUnknown" };
  if (exporter.record.state === "pending") return { missing: "ClusterPending" };
  const id = sourceId(resource);
  if (owner === resource.metadata.cluster) {
    const own = exporter.services.get(id);
    return own === undefined
      ? { missing: "NoService" }
      : { link: { exporter, service: own, workloads: EVERY_WORKLOAD } };
  }
  const exported = exporter.exports.get(id);
  if (exported === undefined) return { missing: "NotExported" };
  const workloads = workloadsPermittedTo(exported, resource.metadata.cluster);
  if (workloads === undefined) return { missing: "NotPermitted" };
  const service = exporter.services.get(id);
  if (service === undefined) return { missing: "NoService" };
  return { link: { exporter, service, workloads } };
}

/** Consumers of an export that accepted it. */
export function acceptedConsumers(
  state: FederationState,
  exported: ServiceExportResource,
): readonly { readonly cluster: ClusterState; readonly workloads: readonly WorkloadPattern[] }[] {
  const source = `${exported.metadata.cluster}/${serviceId(exported.metadata)}`;
  const accepted: { cluster: ClusterState; workloads: readonly WorkloadPattern[] }[] = [];
  for (const name of consumerNames(state, exported)) {
    const cluster = state.clusters.get(name);
    const workloads = workloadsPermittedTo(exported, name);
    if (workloads === undefined || cluster?.record.state !== "joined") continue;
    if (importedSources(cluster.imports).has(source)) accepted.push({ cluster, workloads });
  }
  return accepted;
}

/** In an export's consumers: every cluster of the federation but its own. */
export const EVERY_CLUSTER = "*";

/** Clusters that an export names, whether they exist or not. */
export function consumerNames(state: FederationState, exported: ServiceExportResource): readonly string[] {
  const permitted = permittedWorkloads(exported);
  if (!permitted.has(EVERY_CLUSTER)) return [...permitted.keys()];
  return [...state.clusters.keys()].filter((name) => name !== exported.metadata.cluster);
}

/** What a cluster's own entry says goes before what is said of every cluster; `undefined`: it is not named. */
export function workloadsPermittedTo(
  exported: ServiceExportResource,
  cluster: string,
): readonly WorkloadPattern[] | undefined {
  const permitted = permittedWorkloads(exported);
  if (cluster === exported.metadata.cluster) return undefined;
  return permitted.get(cluster) ?? permitted.get(EVERY_CLUSTER);
}

const OFFERED = new WeakMap<ClusterState["exports"], ReadonlyMap<string, readonly ServiceExportResource[]>>();

/** Exports of a cluster that may concern another one, without looking at those that name neither it nor everyone. */
export function exportsNaming(
  exports: ClusterState["exports"],
  cluster: string,
): readonly ServiceExportResource[] {
  const offered = offeredBy(exports);
  const own = offered.get(cluster) ?? NONE;
  const everyone = offered.get(EVERY_CLUSTER) ?? NONE;
  if (everyone.length === 0) return own;
  return [...own, ...everyone.filter((resource) => !permittedWorkloads(resource).has(cluster))];
}

/** Whom the exports of a cluster name, `*` included. */
export function namedBy(exports: ClusterState["exports"]): Iterable<string> {
  return exports.size === 0 ? [] : offeredBy(exports).keys();
}

function offeredBy(exports: ClusterState["exports"]): ReadonlyMap<string, readonly ServiceExportResource[]> {
  const known = OFFERED.get(exports);
  if (known !== undefined) return known;
  const byConsumer = new Map<string, ServiceExportResource[]>();
  for (const resource of exports.values()) {
    for (const name of permittedWorkloads(resource).keys()) {
      const named = byConsumer.get(name);
      if (named === undefined) byConsumer.set(name, [resource]);
      else named.push(resource);
    }
  }
  OFFERED.set(exports, byConsumer);
  return byConsumer;
}

const NONE: readonly ServiceExportResource[] = [];

/** Derived once per object, which never changes: a hub's export is matched against by hundreds of imports. */
const PERMITTED = new WeakMap<ServiceExportResource, ReadonlyMap<string, readonly WorkloadPattern[]>>();

function permittedWorkloads(
  exported: ServiceExportResource,
): ReadonlyMap<string, readonly WorkloadPattern[]> {
  const known = PERMITTED.get(exported);
  if (known !== undefined) return known;
  const { consumers } = exported.spec;
  const permitted = new Map(
    consumers.map(({ cluster, workloads }) => [cluster, workloads ?? EVERY_WORKLOAD]),
  );
  PERMITTED.set(exported, permitted);
  return permitted;
}

/** Clusters that import a service of `owner`, whoever permits them. */
export function importersOf(state: FederationState, owner: string, service: ServiceName): readonly string[] {
  const source = `${owner}/${serviceId(service)}`;
  return [...state.clusters.values()]
    .filter(({ imports }) => importedSources(imports).has(source))
    .map(({ record }) => record.name);
}

/**
 * Whether what `consumer` may do with an export is something else now, and it uses it before and after: then its snapshot
 * surely says something else, since each of its imports of that service names the workloads that the owner permits.
 */
export function isUseChanged(
  before: FederationState,
  after: FederationState,
  exported: { readonly cluster: string; readonly namespace: string; readonly name: string },
  consumer: string,
): boolean {
  const [was, is] = [before, after].map((state) => usedWorkloads(state, exported, consumer));
  return was !== undefined && is !== undefined && was !== is && JSON.stringify(was) !== JSON.stringify(is);
}

/** `undefined` where it does not use it. */
function usedWorkloads(
  state: FederationState,
  {
    cluster,
    namespace,
    name,
  }: { readonly cluster: string; readonly namespace: string; readonly name: string },
  consumer: string,
): readonly WorkloadPattern[] | undefined {
  const [owner, user] = [state.clusters.get(cluster), state.clusters.get(consumer)];
  if (owner?.record.state !== "joined" || user?.record.state !== "joined") return undefined;
  const id = serviceId({ namespace, name });
  const exported = owner.exports.get(id);
  if (exported === undefined || !owner.services.has(id)) return undefined;
  return importedSources(user.imports).has(`${cluster}/${id}`)
    ? workloadsPermittedTo(exported, consumer)
    : undefined;
}

const SOURCES = new WeakMap<ClusterState["imports"], ReadonlySet<string>>();

/** `east/shop/cart` of everything a cluster imports; derived once per map, which never changes. */
function importedSources(imports: ClusterState["imports"]): ReadonlySet<string> {
  const known = SOURCES.get(imports);
  if (known !== undefined) return known;
  const sources = new Set<string>();
  for (const resource of imports.values()) {
    for (const owner of sourceClusters(resource)) sources.add(`${owner}/${sourceId(resource)}`);
  }
  SOURCES.set(imports, sources);
  return sources;
}

/** By cluster, every service that a local name stands for; a service of the cluster itself stands for itself at its owner. */
export function servicesBehind(
  state: FederationState,
  cluster: ClusterState,
  local: ServiceName,
): ReadonlyMap<string, ServiceResource | undefined> {
  const id = serviceId(local);
  const imported = cluster.imports.get(id);
  if (imported !== undefined) {
    const source = sourceId(imported);
    return new Map(
      sourceClusters(imported).map((owner) => [owner, state.clusters.get(owner)?.services.get(source)]),
    );
  }
  const own = cluster.services.get(id);
  return own === undefined ? new Map() : new Map([[cluster.record.name, own]]);
}
