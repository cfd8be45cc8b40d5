import type { AuthorizationSource } from "../model/authorization-policy.ts";
import type { AuthorizationPolicyResource } from "../model/resource.ts";
import type { SnapshotAuthorization, SnapshotCaller } from "../model/snapshot.ts";
import { mayBeIn, within } from "./compile-rules.ts";
import { type ClusterState, type FederationState, trustDomainOf } from "./state.ts";

/** A cluster's own policies, ordered by name; they are enforced where calls arrive, so nobody else hears of them. */
export function compileAuthorization(
  state: FederationState,
  cluster: ClusterState,
): readonly SnapshotAuthorization[] {
  const policies = [...cluster.rules.values()].filter(
    (rule): rule is AuthorizationPolicyResource => rule.kind === "AuthorizationPolicy",
  );
  return policies
    .map((policy) => compilePolicy(state, policy))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

function compilePolicy(
  state: FederationState,
  { metadata, spec }: AuthorizationPolicyResource,
): SnapshotAuthorization {
  const { namespace, name } = metadata;
  const { to = [] } = spec;
  const isEveryPort = to.some(({ ports }) => ports === undefined);
  const ports = new Set(isEveryPort ? [] : to.flatMap((target) => target.ports ?? []));
  const readsRequests = to.some(({ methods, paths }) => methods !== undefined || paths !== undefined);
  return {
    name: `${namespace}/${name}`,
    namespace,
    services: (spec.targetRefs ?? []).map((target) => target.name),
    ports: [...ports].sort((a, b) => a - b),
    ...(readsRequests ? { to } : {}),
    action: spec.action,
    mode: spec.mode ?? "enforce",
    ...(spec.from === undefined ? {} : { from: spec.from.flatMap((source) => compileSource(state, source)) }),
  };
}

/** Nothing where no caller can fit. */
function compileSource(
  state: FederationState,
  { workload, namespace, cluster }: AuthorizationSource,
): readonly SnapshotCaller[] {
  if (workload !== undefined && namespace !== undefined && !mayBeIn(workload, namespace)) return [];
  const pattern =
    namespace === undefined ? (workload ?? "*") : within(workload ?? `ns/${namespace}/sa/*`, namespace);
  return [
    {
      workload: pattern,
      ...(cluster === undefined ? {} : { trustDomain: trustDomainOf(state.federation, cluster) }),
    },
  ];
}
