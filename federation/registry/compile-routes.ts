import type { TrafficRouteResource } from "../model/resource.ts";
import type { ServiceName } from "../model/service.ts";
import type { SnapshotImport } from "../model/snapshot.ts";
import type {
  BackendTarget,
  RouteFilter,
  RouteRule,
  SnapshotParent,
  SnapshotRoute,
  SnapshotRouteFilter,
  SnapshotRouteRule,
  SnapshotRouteTarget,
} from "../model/traffic-route.ts";
import { ownersOf } from "./compile-rules.ts";
import { type ClusterState, type FederationState, serviceId } from "./state.ts";

/**
 * The routes in force in a cluster: its own ones for what it imports, and those that the owner of an imported service wrote
 * for it. The owner's hold only where the service comes from that one cluster: it may not speak for the others.
 */
export function compileRoutes(
  state: FederationState,
  cluster: ClusterState,
  imports: readonly SnapshotImport[],
): readonly SnapshotRoute[] {
  const routed = (name: string): boolean => (state.clusters.get(name)?.routes.size ?? 0) > 0;
  if (cluster.routes.size === 0 && !ownersOf(imports).some(routed)) return [];
  const byName = Map.groupBy(imports, serviceId);
  const routes = [...cluster.routes.values()].flatMap((route) => ownRoute(cluster, route, byName));
  for (const [only, another] of byName.values()) {
    if (only === undefined || another !== undefined || only.from.cluster === cluster.record.name) continue;
    const owner = state.clusters.get(only.from.cluster);
    if (owner === undefined) continue;
    for (const route of owner.routes.values()) routes.push(...producerRoute(owner, route, only, imports));
  }
  return routes.sort((a, b) => compare(keyOf(a), keyOf(b)));
}

function ownRoute(
  cluster: ClusterState,
  route: TrafficRouteResource,
  imports: ReadonlyMap<string, readonly SnapshotImport[]>,
): readonly SnapshotRoute[] {
  const { namespace } = route.metadata;
  const parents = parentsOf(route).filter((parent) => imports.has(serviceId(parent)));
  if (parents.length === 0) return [];
  const resolve = (target: BackendTarget): SnapshotRouteTarget => ({
    namespace: target.namespace ?? namespace,
    name: target.name,
    ...selectorOf(target),
  });
  return [snapshotRoute(cluster, route, parents, resolve)];
}

/** A route of the owner, in the names of the importing cluster; what that does not import is left unresolvable. */
function producerRoute(
  owner: ClusterState,
  route: TrafficRouteResource,
  imported: SnapshotImport,
  imports: readonly SnapshotImport[],
): readonly SnapshotRoute[] {
  const { from, namespace, name } = imported;
  const parents = parentsOf(route)
    .filter((parent) => parent.consumer === undefined && serviceId(parent) === serviceId(from))
    .map((parent) => ({ ...parent, namespace, name }));
  if (parents.length === 0) return [];
  const localName = (source: ServiceName): ServiceName | undefined =>
    serviceId(source) === serviceId(from)
      ? imported
      : imports.find((one) => one.from.cluster === from.cluster && serviceId(one.from) === serviceId(source));
  const resolve = (target: BackendTarget): SnapshotRouteTarget => {
    const source = { namespace: target.namespace ?? route.metadata.namespace, name: target.name };
    const local = localName(source) ?? source;
    return {
      namespace: local.namespace,
      name: local.name,
      ...selectorOf(target),
      cluster: target.cluster ?? from.cluster,
    };
  };
  return [snapshotRoute(owner, route, parents, resolve)];
}

function snapshotRoute(
  { record }: ClusterState,
  { metadata, spec }: TrafficRouteResource,
  parents: readonly SnapshotParent[],
  resolve: (target: BackendTarget) => SnapshotRouteTarget,
): SnapshotRoute {
  return {
    cluster: record.name,
    namespace: metadata.namespace,
    name: metadata.name,
    firstSeen: metadata.firstSeen ?? "1970-01-01T00:00:00Z",
    mode: spec.mode ?? "enforce",
    parents,
    rules: spec.rules.map((rule) => snapshotRule(rule, resolve)),
  };
}

function snapshotRule(
  { filters, backendRefs, ...rest }: RouteRule,
  resolve: (target: BackendTarget) => SnapshotRouteTarget,
): SnapshotRouteRule {
  return {
    ...rest,
    ...(filters === undefined ? {} : { filters: filters.map((filter) => snapshotFilter(filter, resolve)) }),
    ...(backendRefs === undefined
      ? {}
      : {
          backendRefs: backendRefs.map((backend) => ({
            ...resolve(backend),
            ...(backend.weight === undefined ? {} : { weight: backend.weight }),
            ...(backend.filters === undefined ? {} : { filters: backend.filters }),
          })),
        }),
  };
}

function snapshotFilter(
  filter: RouteFilter,
  resolve: (target: BackendTarget) => SnapshotRouteTarget,
): SnapshotRouteFilter {
  if (filter.type !== "RequestMirror") return filter;
  const { backendRef, ...share } = filter.requestMirror;
  return { type: filter.type, requestMirror: { ...share, backendRef: resolve(backendRef) } };
}

/** The services whose requests a route is about, by the names of its own cluster. */
export function parentsOf({ metadata, spec }: TrafficRouteResource): readonly SnapshotParent[] {
  return spec.parentRefs.map(({ namespace = metadata.namespace, name, port }) => ({
    namespace,
    name,
    ...(port === undefined ? {} : { port }),
    ...(namespace === metadata.namespace ? {} : { consumer: metadata.namespace }),
  }));
}

/** Every service that a route sends requests to, by the names of its own cluster. */
export function backendsOf({ metadata, spec }: TrafficRouteResource): readonly SnapshotRouteTarget[] {
  const targets = spec.rules.flatMap(({ backendRefs = [], filters = [] }) => [
    ...backendRefs,
    ...filters.flatMap((filter) =>
      filter.type === "RequestMirror" ? [filter.requestMirror.backendRef] : [],
    ),
  ]);
  return targets.map((target) => ({
    namespace: target.namespace ?? metadata.namespace,
    name: target.name,
    ...selectorOf(target),
  }));
}

function selectorOf({ port, cluster, version }: BackendTarget) {
  return {
    ...(port === undefined ? {} : { port }),
    ...(cluster === undefined ? {} : { cluster }),
    ...(version === undefined ? {} : { version }),
  };
}

function keyOf({ cluster, namespace, name, parents }: SnapshotRoute): string {
  return `${cluster}/${namespace}/${name}/${parents.map(serviceId).join()}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
