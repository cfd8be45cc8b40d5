import type { ServiceProperties } from "../../../federation/model/resource.ts";
import type { ServicePort } from "../../../federation/model/service.ts";

/** One cluster's export of a service, as the importing side knows it. */
export interface ServiceSource {
  readonly cluster: string;
  readonly ports: readonly ServicePort[];
  readonly properties: ServiceProperties;
  /** When the federation first saw the export: deleting and re-creating it does not make it younger. */
  readonly firstSeen: string;
}

/** `status.conditions[Conflict].reason` of a ServiceExport (KEP-1645). */
export type ConflictReason =
  | "PortConflict"
  | "TypeConflict"
  | "SessionAffinityConflict"
  | "SessionAffinityConfigConflict"
  | "InternalTrafficPolicyConflict"
  | "TrafficDistributionConflict"
  | "IPFamilyConflict"
  | "LabelsConflict"
  | "AnnotationsConflict";

export interface MergedPort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: "TCP";
  readonly appProtocol?: string;
}

export interface MergedService {
  readonly ports: readonly MergedPort[];
  readonly properties: ServiceProperties;
  readonly conflicts: readonly ConflictReason[];
}

/** The oldest export goes first; of two as old as each other the one whose cluster's name sorts first. */
export function byPrecedence(sources: readonly ServiceSource[]): readonly ServiceSource[] {
  return [...sources].sort((a, b) => compare(a.firstSeen, b.firstSeen) || compare(a.cluster, b.cluster));
}

/**
 * What all exports of a service are taken for together (KEP-1645 "Constraints and Conflict Resolution"): ports are the
 * union, merged by name and then by number; everything else is as the oldest export has it. A conflict changes nothing
 * but the conditions that tell of it.
 */
export function mergeSources(given: readonly ServiceSource[]): MergedService {
  const sources = byPrecedence(given);
  const properties = sources[0]?.properties ?? {};
  const ports = mergePorts(sources);
  const conflicts = new Set<ConflictReason>();
  for (const source of sources) {
    const own = portsOf(source);
    const same = own.length === ports.length && own.every((port) => ports.some((each) => equal(each, port)));
    if (!same) conflicts.add("PortConflict");
    for (const [reason, field] of FIELDS)
      if (!equal(field(source.properties), field(properties))) conflicts.add(reason);
  }
  return { ports, properties, conflicts: CONFLICT_ORDER.filter((reason) => conflicts.has(reason)) };
}

const FIELDS: readonly (readonly [ConflictReason, (properties: ServiceProperties) => unknown])[] = [
  ["TypeConflict", ({ headless = false }) => headless],
  ["SessionAffinityConflict", ({ sessionAffinity }) => sessionAffinity],
  ["SessionAffinityConfigConflict", ({ sessionAffinitySeconds }) => sessionAffinitySeconds],
  ["InternalTrafficPolicyConflict", ({ internalTrafficPolicy }) => internalTrafficPolicy],
  ["TrafficDistributionConflict", ({ trafficDistribution }) => trafficDistribution],
  ["IPFamilyConflict", ({ ipFamilies = [] }) => [...ipFamilies].sort()],
  ["LabelsConflict", ({ labels = {} }) => sorted(labels)],
  ["AnnotationsConflict", ({ annotations = {} }) => sorted(annotations)],
];
const CONFLICT_ORDER: readonly ConflictReason[] = ["PortConflict", ...FIELDS.map(([reason]) => reason)];

function mergePorts(sources: readonly ServiceSource[]): readonly MergedPort[] {
  const merged: MergedPort[] = [];
  for (const source of sources) {
    for (const port of portsOf(source)) {
      const taken = merged.some(
        (known) => known.port === port.port || (known.name ?? "") === (port.name ?? ""),
      );
      if (!taken) merged.push(port);
    }
  }
  return merged;
}

/** A source's ports with the names and application protocols that its Service gives them. */
export function portsOf({ ports, properties }: ServiceSource): readonly MergedPort[] {
  return ports.map(({ port }) => {
    const said = properties.ports?.find((each) => each.port === port);
    return {
      port,
      protocol: "TCP",
      ...(said?.name === undefined ? {} : { name: said.name }),
      ...(said?.appProtocol === undefined ? {} : { appProtocol: said.appProtocol }),
    };
  });
}

/** Ports of the merged service that this source really has: the only ones for which traffic may go there. */
export function sharedPorts(merged: MergedService, source: ServiceSource): readonly MergedPort[] {
  const own = portsOf(source);
  return merged.ports.filter((port) =>
    own.some((each) => each.port === port.port && (each.name ?? "") === (port.name ?? "")),
  );
}

function sorted(map: { readonly [key: string]: string }): unknown {
  return Object.entries(map).sort(([a], [b]) => compare(a, b));
}

function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
