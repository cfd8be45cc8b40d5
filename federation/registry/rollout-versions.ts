import type { RolloutResource, ServiceResource } from "../model/resource.ts";
import { servicesBehind } from "./links.ts";
import { type FederationState, serviceId } from "./state.ts";

export interface RolloutVersions {
  /** Those that endpoints of the service have. */
  readonly known: readonly string[];
  /** Those that requests go to, or will when it begins, and that no endpoint has. Until it has begun, it waits for them. */
  readonly missing: readonly string[];
}

export function rolloutVersions(
  state: FederationState,
  { metadata, spec, progress }: RolloutResource,
): RolloutVersions {
  const { cluster: owner, namespace } = metadata;
  const target = { namespace, name: spec.targetRef.name };
  const cluster = state.clusters.get(owner);
  const services: readonly (ServiceResource | undefined)[] =
    cluster === undefined
      ? []
      : spec.targetRef.kind === "Service"
        ? [cluster.services.get(serviceId(target))]
        : [...servicesBehind(state, cluster, target).values()];
  const known = [...new Set(services.flatMap((service) => service?.spec.versions ?? []))];
  const needed = [
    ...(progress?.weight === 100 ? [] : [spec.stable.version]),
    ...(progress?.weight === 0 ? [] : [spec.canary.version]),
  ];
  return { known, missing: needed.filter((version) => !known.includes(version)) };
}
