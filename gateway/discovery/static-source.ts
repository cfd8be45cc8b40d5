import type { ServiceEndpoint } from "../../federation/model/service.ts";
import { type SpiffeId, type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { servicesOf, type StaticCluster } from "../../federation/model/static-cluster.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { EndpointListener, ServicesSource, Topology } from "./services-source.ts";

/** A static cluster's file, as every other source of services looks. */
export function createStaticSource(
  cluster: Watch<StaticCluster>,
  trustDomain: TrustDomain,
  stop: () => void = () => {},
): ServicesSource {
  const topology = createWatch(topologyOf(cluster.current, trustDomain));
  let endpoints = endpointsByService(cluster.current);
  const listeners = new Set<EndpointListener>();
  cluster.subscribe((next) => {
    const previous = endpoints;
    endpoints = endpointsByService(next);
    for (const listener of listeners) tellChanges(previous, endpoints, listener);
    topology.publish(topologyOf(next, trustDomain));
  });
  return {
    topology,
    followEndpoints(listener) {
      listeners.add(listener);
      tellChanges(new Map(), endpoints, listener);
      return () => listeners.delete(listener);
    },
    stop,
  };
}

function topologyOf(cluster: StaticCluster, trustDomain: TrustDomain): Topology {
  const { gateways } = cluster.spec;
  const agents = cluster.spec.agents.map((address) => ({ address }));
  return { offered: servicesOf(cluster), gateways, agents, workloads: workloadIds(cluster, trustDomain) };
}

function workloadIds({ spec }: StaticCluster, trustDomain: TrustDomain): readonly SpiffeId[] {
  const ids = spec.workloads.map(({ namespace, serviceAccount }) =>
    workloadSpiffeId(trustDomain, namespace, serviceAccount),
  );
  return [...new Map(ids.map((id) => [id.uri, id])).values()];
}

type Endpoints = ReadonlyMap<string, readonly ServiceEndpoint[]>;

/** Endpoints by `cart.shop:80`; workloads that serve the same port add up. */
function endpointsByService({ spec }: StaticCluster): Endpoints {
  const found = new Map<string, Map<string, ServiceEndpoint>>();
  for (const { namespace, services } of spec.workloads) {
    for (const { name, port, version, endpoints } of services) {
      const key = `${name}.${namespace}:${port}`;
      const known = found.get(key) ?? new Map<string, ServiceEndpoint>();
      found.set(key, known);
      for (const address of endpoints) {
        // An address that two workloads name runs what the first one says.
        if (!known.has(address))
          known.set(address, version === undefined ? { address } : { address, version });
      }
    }
  }
  return new Map([...found].map(([key, endpoints]) => [key, [...endpoints.values()]]));
}

function tellChanges(previous: Endpoints, next: Endpoints, listener: EndpointListener): void {
  for (const key of previous.keys()) if (!next.has(key)) listener(key, []);
  for (const [key, endpoints] of next) {
    const known = previous.get(key);
    if (known === undefined || JSON.stringify(known) !== JSON.stringify(endpoints)) listener(key, endpoints);
  }
}
