import type { API_VERSION } from "./resource.ts";
import type { PortProtocol, Service, ServiceName, ServicePort } from "./service.ts";

/** What a cluster without Kubernetes consists of, as its file says. Defaults are filled in by the decoder. */
export interface StaticCluster {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: "StaticCluster";
  readonly metadata: { readonly name: string };
  readonly spec: {
    /** Where this cluster's agents find their gateways, `host:port`. */
    readonly gateways: readonly string[];
    /** Tunnel listeners of this cluster's agents; empty: the gateway serves workloads itself. */
    readonly agents: readonly string[];
    readonly workloads: readonly StaticWorkload[];
  };
}

export interface StaticWorkload {
  readonly namespace: string;
  readonly name: string;
  /** The workload's name, unless the file gives another. */
  readonly serviceAccount: string;
  readonly services: readonly StaticService[];
}

/** One port of a service; a service with several ports is written as several entries of one name. */
export interface StaticService {
  readonly name: string;
  readonly port: number;
  /** From `appProtocol`, unless the file says it itself. */
  readonly protocol: PortProtocol;
  /** Version that these endpoints run; endpoints of another version are a workload of their own. */
  readonly version?: string;
  readonly appProtocol?: string;
  /** Dialable addresses, `host:port`. */
  readonly endpoints: readonly string[];
}

/** The cluster's services without their endpoints, in a stable order: what the registry is told. */
export function servicesOf(cluster: StaticCluster): readonly Service[] {
  const found = new Map<string, FoundService>();
  for (const workload of cluster.spec.workloads) {
    for (const { name, port, protocol, appProtocol, version } of workload.services) {
      const key = `${workload.namespace}/${name}`;
      const service = found.get(key) ?? foundService(workload.namespace, name);
      if (!service.ports.has(port))
        service.ports.set(port, { port, protocol, ...(appProtocol === undefined ? {} : { appProtocol }) });
      if (version !== undefined) service.versions.add(version);
      found.set(key, service);
    }
  }
  return [...found.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { namespace, name, ports, versions }]) => ({
      namespace,
      name,
      ports: [...ports.values()].sort((a, b) => a.port - b.port),
      ...(versions.size === 0 ? {} : { versions: [...versions].sort() }),
    }));
}

interface FoundService extends ServiceName {
  readonly ports: Map<number, ServicePort>;
  readonly versions: Set<string>;
}

function foundService(namespace: string, name: string): FoundService {
  return { namespace, name, ports: new Map(), versions: new Set() };
}

/** `ns/shop/sa/web`: the short form of the workload's identity. */
export function staticWorkloadName(workload: StaticWorkload): string {
  return `ns/${workload.namespace}/sa/${workload.serviceAccount}`;
}
