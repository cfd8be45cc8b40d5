import type { ClusterStatus, MemberStatus, Resource, WithStatus } from "../model/resource.ts";
import { compareText } from "./compile-snapshot.ts";
import { clusterResource, withConditions } from "./conditions.ts";
import { appliedResources, type ClusterState, type FederationState, trustDomainOf } from "./state.ts";

export interface ResourceFilter {
  readonly kind?: Resource["kind"];
  readonly cluster?: string;
  readonly namespace?: string;
  readonly name?: string;
}

/** By name: the order in which clusters happened to register means nothing to a reader. */
export function clustersByName(state: FederationState): readonly ClusterState[] {
  return [...state.clusters.values()].sort((a, b) => compareText(a.record.name, b.record.name));
}

/** Resources of every kind with their conditions; absent filters match everything. */
export function listResources(
  state: FederationState,
  filter: ResourceFilter,
): readonly WithStatus<Resource>[] {
  const clusters = clustersByName(state).filter(
    ({ record }) => filter.cluster === undefined || record.name === filter.cluster,
  );
  return clusters
    .flatMap((cluster): readonly Resource[] => [
      clusterResource(state, cluster),
      ...cluster.services.values(),
      ...appliedResources(cluster),
    ])
    .filter((resource) => matches(resource, filter))
    .map((resource) => withConditions(state, resource));
}

function matches(resource: Resource, { kind, namespace, name }: ResourceFilter): boolean {
  const { metadata } = resource;
  return (
    (kind === undefined || resource.kind === kind) &&
    (name === undefined || metadata.name === name) &&
    (namespace === undefined || ("namespace" in metadata && metadata.namespace === namespace))
  );
}

export function clusterStatus(
  state: FederationState,
  cluster: ClusterState,
  members: readonly MemberStatus[],
): ClusterStatus {
  const { name, state: joined, registeredAt, joinedAt, caNotAfter, gateways } = cluster.record;
  return {
    name,
    trustDomain: trustDomainOf(state.federation, name),
    state: joined,
    registeredAt,
    ...(joinedAt === undefined ? {} : { joinedAt }),
    ...(caNotAfter === undefined ? {} : { caNotAfter }),
    gateways,
    members,
    snapshotRevision: cluster.snapshotRevision,
  };
}
