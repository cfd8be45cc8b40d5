import type { ServiceProperties } from "../../../federation/model/resource.ts";
import type { OwnerReference } from "../api/object.ts";
import type { ResourceType } from "../api/resource-type.ts";
import type { KubeSlice } from "../digest/endpoint-slice.ts";
import type { KubeExport, KubeImport } from "../digest/mcs.ts";
import { type KubeService, portProtocol } from "../digest/service.ts";
import { byPrecedence, mergeSources, type MergedService, type ServiceSource, sharedPorts } from "./merge.ts";
import type { ImportName } from "./objects.ts";

/** Who exports what is called by one name; where the name is an alias, of the service that it stands for. */
export interface ExportFacts {
  /** Exports of other clusters that this namespace accepts. */
  readonly offers: readonly ServiceSource[];
  /** Clusters that the gateways can route to for this name. */
  readonly routed: ReadonlySet<string>;
  readonly export: KubeExport | undefined;
  readonly service: KubeService | undefined;
  readonly localSlices: readonly KubeSlice[];
  /** When the federation first saw our own export; absent until the registry has said so. */
  readonly firstSeen: string | undefined;
}

/** Everything that is known about one service name of the clusterset, from this cluster's point of view. */
export interface ServiceView extends ImportName, ExportFacts {
  readonly cluster: string;
  readonly types: {
    readonly imports: ResourceType;
    readonly exports: ResourceType;
    readonly slices: ResourceType;
  };
  /** The namespace is here, is not ending, and takes part. */
  readonly open: boolean;
  /** Why the registry does not have our export, if so. */
  readonly refused: string | undefined;
  readonly import: KubeImport | undefined;
  /** Only where somebody wrote the import, and whose export it stands for. */
  readonly alias?: AliasFacts;
  readonly derived: KubeService | undefined;
  readonly derivedSlices: readonly KubeSlice[];
  /** Addresses of this cluster's gateways. */
  readonly gateways: readonly string[];
  readonly listenOf: (port: number) => number;
  /** What everything here belongs to; absent where it was not installed by its manifest. */
  readonly installation: OwnerReference | undefined;
  /** Whether all of the above rests on complete lists and a snapshot: only then may anything be deleted. */
  readonly complete: boolean;
  /** Of that snapshot. */
  readonly revision: number | undefined;
  /** RFC 3339. */
  readonly now: string;
}

export interface AliasFacts extends ExportFacts {
  /** Clusters that export it, but not to this namespace: it accepts nothing of theirs. */
  readonly unaccepted: readonly string[];
  /** What the registry says of the import. */
  readonly told: RegistryAnswer | undefined;
}

export interface RegistryAnswer {
  readonly reason: string;
  readonly message: string;
}

/** What a name is made of. */
export interface Imported {
  readonly own: ServiceSource | undefined;
  /** The oldest first. */
  readonly sources: readonly ServiceSource[];
  readonly merged: MergedService;
}

export function importedOf(facts: ExportFacts, cluster: string): Imported {
  const own = ownSource(facts, cluster);
  const sources = byPrecedence([...(own === undefined ? [] : [own]), ...facts.offers]);
  return { own, sources, merged: mergeSources(sources) };
}

/** Whether no port of ours lost its number or its name to an older export: callers are led to a cluster, not to single ports of it. */
export function takesPart({ own, merged }: Imported): boolean {
  return own === undefined || sharedPorts(merged, own).length === own.ports.length;
}

/** Our own export as one source among others; `undefined` while it is not valid, or not known to the registry. */
function ownSource(facts: ExportFacts, cluster: string): ServiceSource | undefined {
  const { service, firstSeen } = facts;
  if (service === undefined || firstSeen === undefined || !isExported(facts)) return undefined;
  const ports = service.ports
    .filter(({ protocol }) => protocol === "TCP")
    .map((port) => ({ port: port.port, protocol: portProtocol(port) }));
  return { cluster, ports, properties: propertiesOf(service, facts.export), firstSeen };
}

export function isExported({ service, export: exported }: Pick<ExportFacts, "service" | "export">): boolean {
  if (service === undefined || service.type === "ExternalName" || service.derivedFor !== undefined)
    return false;
  return service.exportLabel || exported?.deleting === false;
}

/** What other clusters are told of a Service, so that theirs behave alike. */
export function propertiesOf(service: KubeService, exported: KubeExport | undefined): ServiceProperties {
  const { headless, sessionAffinity, sessionAffinitySeconds, internalTrafficPolicy, trafficDistribution } =
    service;
  const { labels = {}, annotations = {} } = exported ?? {};
  return {
    ...(headless ? { headless: true } : {}),
    ...(sessionAffinity === undefined ? {} : { sessionAffinity }),
    ...(sessionAffinitySeconds === undefined ? {} : { sessionAffinitySeconds }),
    ...(internalTrafficPolicy === undefined ? {} : { internalTrafficPolicy }),
    ...(trafficDistribution === undefined ? {} : { trafficDistribution }),
    ...(service.ipFamilies.length === 0 ? {} : { ipFamilies: [...service.ipFamilies] }),
    ports: service.ports
      .filter(({ protocol }) => protocol === "TCP")
      .map(({ port, name, appProtocol }) => ({
        port,
        ...(name === undefined ? {} : { name }),
        ...(appProtocol === undefined ? {} : { appProtocol }),
      })),
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}
