import { isIPv6 } from "node:net";
import type { ServiceProperties } from "../../../federation/model/resource.ts";
import type { OwnerReference } from "../api/object.ts";
import { type ResourceType, SERVICES } from "../api/resource-type.ts";
import type { KubeSlice } from "../digest/endpoint-slice.ts";
import type { KubeExport, KubeImport } from "../digest/mcs.ts";
import { fieldsOf, list } from "../digest/fields.ts";
import { type KubeService, portProtocol } from "../digest/service.ts";
import { type ConditionDraft, conditionsToWrite } from "./conditions.ts";
import { byPrecedence, mergeSources, type MergedService, type ServiceSource, sharedPorts } from "./merge.ts";
import {
  type Desired,
  derivedServiceObject,
  importObject,
  type ImportName,
  mirroredPorts,
  ownerOf,
  sliceObject,
} from "./objects.ts";
import { type Change, covers, type Current, plan, statusChange } from "./plan.ts";

/** Everything that is known about one service name of the clusterset, from this cluster's point of view. */
export interface ServiceView extends ImportName {
  readonly cluster: string;
  readonly types: {
    readonly imports: ResourceType;
    readonly exports: ResourceType;
    readonly slices: ResourceType;
  };
  /** The namespace is here, is not ending, and takes part. */
  readonly open: boolean;
  /** Exports of other clusters that this namespace accepts. */
  readonly offers: readonly ServiceSource[];
  /** Clusters that the gateways can route to for this name. */
  readonly routed: ReadonlySet<string>;
  readonly export: KubeExport | undefined;
  readonly service: KubeService | undefined;
  readonly localSlices: readonly KubeSlice[];
  /** When the federation first saw our own export; absent until the registry has said so. */
  readonly firstSeen: string | undefined;
  /** Why the registry does not have our export, if so. */
  readonly refused: string | undefined;
  readonly import: KubeImport | undefined;
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

/** What to write so that Kubernetes shows this service as the federation has it. Pure. */
export function planService(view: ServiceView): readonly Change[] {
  const own = ownSource(view);
  const sources = byPrecedence([...(own === undefined ? [] : [own]), ...view.offers]);
  const merged = mergeSources(sources);
  return [...planObjects(view, own, sources, merged), ...planExportStatus(view, merged, sources.length)];
}

function planObjects(
  view: ServiceView,
  own: ServiceSource | undefined,
  sources: readonly ServiceSource[],
  merged: MergedService,
): readonly Change[] {
  const { types } = view;
  // A ServiceImport that somebody else made is theirs, whatever it says.
  if (view.import?.managed === false) return plan([], currentObjects(view), view);
  const wanted = view.open && sources.length > 0 && merged.ports.length > 0;
  if (!wanted) return plan([], currentObjects(view), view);
  const ips = view.derived?.headless === false ? view.derived.clusterIps : [];
  const desired: Desired[] = [importObject(types.imports, view, merged, ips.slice(0, 2), view.installation)];
  const uid = view.import?.uid ?? "";
  // Owned by the import, so it must be there first: its event brings us back here.
  if (uid !== "")
    desired.push(...ownedObjects(view, own, sources, merged, ownerOf(types.imports, view.name, uid)));
  const changes = plan(desired, currentObjects(view), { ...view, complete: view.complete && uid !== "" });
  return [...changes, ...planImportStatus(view, sources, merged, ips)];
}

function ownedObjects(
  view: ServiceView,
  own: ServiceSource | undefined,
  sources: readonly ServiceSource[],
  merged: MergedService,
  owner: OwnerReference,
): readonly Desired[] {
  const desired = [derivedServiceObject(view, merged, owner, view.listenOf)];
  for (const source of sources) {
    const shared = sharedPorts(merged, source);
    const slices = source === own ? ownSlices(view, shared) : gatewaySlices(view, source, shared);
    for (const content of slices)
      desired.push(
        sliceObject(view.types.slices, view, merged, owner, { ...content, cluster: source.cluster }),
      );
  }
  return desired;
}

type Parts = readonly Omit<Parameters<typeof sliceObject>[4], "cluster">[];

/** Our own endpoints are reached directly: they need no gateway, and are there when the gateways are not. */
function ownSlices(view: ServiceView, shared: MergedService["ports"]): Parts {
  return view.localSlices.flatMap((slice) => {
    const ports = mirroredPorts(slice, shared);
    if (ports.length === 0) return [];
    const addressType = slice.addressType === "IPv6" ? "IPv6" : "IPv4";
    return [{ part: slice.name, addressType, ports, endpoints: slice.endpoints } as const];
  });
}

function gatewaySlices(view: ServiceView, source: ServiceSource, shared: MergedService["ports"]): Parts {
  if (!view.routed.has(source.cluster) || shared.length === 0) return [];
  const ports = shared.map((port) => ({ port, target: view.listenOf(port.port) }));
  return (["IPv4", "IPv6"] as const).flatMap((addressType) => {
    const endpoints = view.gateways.filter((address) => isIPv6(address) === (addressType === "IPv6"));
    return endpoints.length === 0 ? [] : [{ part: addressType, addressType, ports, endpoints }];
  });
}

/** What is there of ours for this name. */
export function currentObjects({
  types,
  import: made,
  derived,
  derivedSlices,
}: ServiceView): readonly Current[] {
  return [
    ...(made?.managed === true ? [{ type: types.imports, object: made.object }] : []),
    ...(derived?.object === undefined ? [] : [{ type: SERVICES, object: derived.object }]),
    ...derivedSlices.flatMap(({ object }) => (object === undefined ? [] : [{ type: types.slices, object }])),
  ];
}

/** Our own export as one source among others; `undefined` while it is not valid, or not known to the registry. */
export function ownSource(view: ServiceView): ServiceSource | undefined {
  const { service, firstSeen, cluster } = view;
  if (service === undefined || firstSeen === undefined || !isExported(view)) return undefined;
  const ports = service.ports
    .filter(({ protocol }) => protocol === "TCP")
    .map((port) => ({ port: port.port, protocol: portProtocol(port) }));
  return { cluster, ports, properties: propertiesOf(service, view.export), firstSeen };
}

export function isExported({ service, export: exported }: Pick<ServiceView, "service" | "export">): boolean {
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

function planImportStatus(
  view: ServiceView,
  sources: readonly ServiceSource[],
  { properties }: MergedService,
  ips: readonly string[],
): readonly Change[] {
  const { import: made, types, cluster, routed, now } = view;
  if (made === undefined || made.uid === "") return [];
  const waiting = sources.filter((source) => source.cluster !== cluster && !routed.has(source.cluster));
  const addressed = properties.headless === true || ips.length > 0;
  const ready = addressed && waiting.length < sources.length;
  const draft: ConditionDraft = ready
    ? { type: "Ready", status: "True", reason: "Ready", message: "it can be called from this cluster" }
    : {
        type: "Ready",
        status: "False",
        reason: "Pending",
        message: addressed
          ? `waiting for a way to ${waiting.map((source) => source.cluster).join(", ")}`
          : "waiting for its address",
      };
  const clusters = sources.map((source) => ({ cluster: source.cluster }));
  const { generation = 1 } = made.object.metadata;
  const conditions = conditionsToWrite([draft], made.object.status, generation, now);
  const live = fieldsOf(made.object.status)["clusters"];
  if (conditions === undefined && covers(live, clusters)) return [];
  const kept = list(fieldsOf(made.object.status)["conditions"]);
  return [statusChange(types.imports, view, { clusters, conditions: conditions ?? kept })];
}

function planExportStatus(view: ServiceView, merged: MergedService, sources: number): readonly Change[] {
  const { export: exported, types, now } = view;
  if (exported === undefined || exported.deleting) return [];
  const valid = validity(view);
  const drafts =
    valid.status === "True" ? [valid, readiness(view), conflict(merged, sources)] : [valid, notReady(valid)];
  const conditions = conditionsToWrite(drafts, exported.status, exported.generation, now);
  return conditions === undefined ? [] : [statusChange(types.exports, view, { conditions })];
}

function validity({ service, namespace, name }: ServiceView): ConditionDraft {
  const type = "Valid";
  if (service === undefined)
    return {
      type,
      status: "False",
      reason: "NoService",
      message: `there is no Service ${namespace}/${name}`,
    };
  const invalid = (message: string): ConditionDraft => ({
    type,
    status: "False",
    reason: "InvalidServiceType",
    message,
  });
  if (service.type === "ExternalName") return invalid("a Service of type ExternalName cannot be exported");
  if (service.derivedFor !== undefined) return invalid("an imported service cannot be exported again");
  if (!service.ports.some(({ protocol }) => protocol === "TCP"))
    return invalid("it has no TCP port; UDP and SCTP do not cross clusters");
  return { type, status: "True", reason: "Valid", message: "the Service can be exported" };
}

function readiness({ firstSeen, refused }: ServiceView): ConditionDraft {
  if (refused !== undefined) return { type: "Ready", status: "False", reason: "Failed", message: refused };
  return firstSeen === undefined
    ? { type: "Ready", status: "False", reason: "Pending", message: "the registry has not heard of it yet" }
    : {
        type: "Ready",
        status: "True",
        reason: "Exported",
        message: "the registry offers it to other clusters",
      };
}

function notReady({ message }: ConditionDraft): ConditionDraft {
  return { type: "Ready", status: "False", reason: "Failed", message };
}

function conflict({ conflicts }: MergedService, sources: number): ConditionDraft {
  if (conflicts.length > 0) {
    const message = `of ${sources} exports of this service the oldest one's choice is used: ${conflicts.join(", ")}`;
    return { type: "Conflict", status: "True", reason: conflicts.join(","), message };
  }
  return { type: "Conflict", status: "False", reason: "NoConflicts", message: "all exports of it agree" };
}
