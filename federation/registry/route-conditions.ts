import type { Condition, TrafficRouteResource } from "../model/resource.ts";
import { serviceKey, type ServiceName } from "../model/service.ts";
import type { SnapshotRouteTarget } from "../model/traffic-route.ts";
import { backendsOf, parentsOf } from "./compile-routes.ts";
import { servicesBehind } from "./links.ts";
import { type ClusterState, type FederationState, serviceId } from "./state.ts";

/** The Gateway API's condition types and reasons for routes. */
export const ROUTE_REASONS = {
  Accepted: ["Accepted", "NoMatchingParent"],
  ResolvedRefs: ["ResolvedRefs", "BackendNotFound"],
} as const;

export function routeConditions(state: FederationState, route: TrafficRouteResource): readonly Condition[] {
  const cluster = state.clusters.get(route.metadata.cluster);
  if (cluster === undefined) return [];
  return [accepted(cluster, route), resolved(state, cluster, route)];
}

function accepted(cluster: ClusterState, route: TrafficRouteResource): Condition {
  const missing = parentsOf(route).filter((parent) => !knows(cluster, parent));
  if (missing.length === 0)
    return condition("Accepted", "True", "Accepted", "every service that it is about is there");
  const names = missing.map(serviceKey).join(", ");
  const message = `cluster ${cluster.record.name} neither imports nor has ${names}`;
  return condition("Accepted", "False", "NoMatchingParent", message);
}

function knows({ imports, services }: ClusterState, service: ServiceName): boolean {
  return imports.has(serviceId(service)) || services.has(serviceId(service));
}

/** What cannot be resolved gets its share of requests answered with 500, as the Gateway API has it. */
function resolved(state: FederationState, cluster: ClusterState, route: TrafficRouteResource): Condition {
  const problems = new Set<string>();
  for (const backend of backendsOf(route)) {
    const found = missingPart(state, cluster, backend);
    if (found !== undefined) problems.add(found);
  }
  return problems.size === 0
    ? condition("ResolvedRefs", "True", "ResolvedRefs", "every backend is there")
    : condition("ResolvedRefs", "False", "BackendNotFound", [...problems].join("; "));
}

function missingPart(
  state: FederationState,
  cluster: ClusterState,
  backend: SnapshotRouteTarget,
): string | undefined {
  const { name } = cluster.record;
  const key = serviceKey(backend);
  const services = servicesBehind(state, cluster, backend);
  if (services.size === 0) return `cluster ${name} neither imports nor has ${key}`;
  if (backend.cluster !== undefined && !services.has(backend.cluster))
    return `cluster ${name} does not import ${key} from ${backend.cluster}`;
  const asked = backend.cluster === undefined ? [...services.values()] : [services.get(backend.cluster)];
  const { version } = backend;
  if (version === undefined || asked.some((service) => service?.spec.versions?.includes(version)))
    return undefined;
  return `no endpoint of ${key}${backend.cluster === undefined ? "" : ` in ${backend.cluster}`} has version ${version}`;
}

function condition<T extends keyof typeof ROUTE_REASONS>(
  type: T,
  status: Condition["status"],
  reason: (typeof ROUTE_REASONS)[T][number],
  message: string,
): Condition {
  return { type, status, reason, message };
}
