import {
  type AppliedResource,
  type ServiceExportResource,
  type ServiceImportResource,
} from "../../model/resource.ts";
import { type Service, serviceKey } from "../../model/service.ts";
import { servicesOf, staticWorkloadName } from "../../model/static-cluster.ts";
import type { LocalCluster, LocalFederation } from "../../model/wire/local-federation.ts";

/** A cluster of the file, with what others look up in it. */
export interface IndexedCluster {
  readonly services: ReadonlyMap<string, Service>;
  /** `ns/shop/sa/web`, each once. */
  readonly workloads: readonly string[];
}

/** A federation's file by names: thousands of its documents look each other up. */
export class FileIndex {
  readonly clusters: ReadonlyMap<string, IndexedCluster>;
  readonly #exports: ReadonlyMap<string, readonly ServiceExportResource[]>;

  constructor(federation: LocalFederation, resources: readonly AppliedResource[]) {
    this.clusters = new Map(
      federation.spec.clusters.map((cluster) => [cluster.name, indexCluster(cluster)] as const),
    );
    const exports = resources.filter((resource) => resource.kind === "ServiceExport");
    this.#exports = Map.groupBy(exports, ({ metadata }) => exportKey(metadata.cluster, serviceKey(metadata)));
  }

  /** The export that makes the import work; of its first source unless another is named. */
  exportOf(
    resource: ServiceImportResource,
    owner = resource.spec.from.cluster,
  ): ServiceExportResource | undefined {
    return this.#exports
      .get(exportKey(owner, serviceKey(importedService(resource))))
      ?.find(({ spec }) => spec.consumers.some(({ cluster }) => cluster === resource.metadata.cluster));
  }
}

/** The service at its owner: the import's own name, unless it is an alias. */
export function importedService({ metadata, spec }: ServiceImportResource) {
  return { namespace: spec.from.namespace ?? metadata.namespace, name: spec.from.name ?? metadata.name };
}

function exportKey(cluster: string, service: string): string {
  return `${cluster}/${service}`;
}

function indexCluster({ name, workloads }: LocalCluster): IndexedCluster {
  const services = servicesOf({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "StaticCluster",
    metadata: { name },
    spec: { gateways: [], agents: [], workloads },
  });
  return {
    services: new Map(services.map((service) => [serviceKey(service), service])),
    workloads: [...new Set(workloads.map(staticWorkloadName))],
  };
}
