import { type SpiffeId, type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import type { StaticCluster } from "../../federation/model/static-cluster.ts";

/** Identities of the workloads of a static cluster. */
export function workloadIds(
  cluster: StaticCluster | undefined,
  trustDomain: TrustDomain,
): readonly SpiffeId[] {
  const workloads = cluster?.spec.workloads ?? [];
  const ids = workloads.map(({ namespace, serviceAccount }) =>
    workloadSpiffeId(trustDomain, namespace, serviceAccount),
  );
  return [...new Map(ids.map((id) => [id.uri, id])).values()];
}

/** Endpoints by `cart.shop:80`; workloads that serve the same port add up. */
export function endpointsByService(
  cluster: StaticCluster | undefined,
): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, readonly string[]>();
  for (const { namespace, services } of cluster?.spec.workloads ?? []) {
    for (const { name, port, endpoints } of services) {
      const key = `${name}.${namespace}:${port}`;
      found.set(key, [...new Set([...(found.get(key) ?? []), ...endpoints])]);
    }
  }
  return found;
}
