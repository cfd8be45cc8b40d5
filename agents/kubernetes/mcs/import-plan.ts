import { isIPv6 } from "node:net";
import type { OwnerReference } from "../api/object.ts";
import { SERVICES } from "../api/resource-type.ts";
import { fieldsOf, list } from "../digest/fields.ts";
import { type ConditionDraft, conditionsToWrite } from "./conditions.ts";
import { type MergedService, type ServiceSource, sharedPorts } from "./merge.ts";
import {
  type Desired,
  derivedServiceObject,
  importObject,
  mirroredPorts,
  ownerOf,
  sliceObject,
} from "./objects.ts";
import { type Change, covers, type Current, plan, statusChange } from "./plan.ts";
import type { Imported, ServiceView } from "./service-view.ts";

/** What a name means that nobody here chose: the exports of every cluster that are accepted, together. */
export function planImport(view: ServiceView, imported: Imported): readonly Change[] {
  const { types } = view;
  const { sources, merged } = imported;
  // A ServiceImport that somebody else made is theirs, whatever it says.
  if (view.import?.managed === false) return plan([], currentObjects(view), view);
  const wanted = view.open && sources.length > 0 && merged.ports.length > 0;
  if (!wanted) return plan([], currentObjects(view), view);
  const ips = addressesOf(view);
  const desired: Desired[] = [importObject(types.imports, view, merged, ips, view.installation)];
  const uid = view.import?.uid ?? "";
  // Owned by the import, so it must be there first: its event brings us back here.
  if (uid !== "") desired.push(...ownedObjects(view, imported, ownerOf(types.imports, view.name, uid)));
  const changes = plan(desired, currentObjects(view), { ...view, complete: view.complete && uid !== "" });
  return [...changes, ...planImportStatus(view, sources, [readiness(view, imported)])];
}

/** Of the derived Service, as the import repeats them. */
export function addressesOf({ derived }: ServiceView): readonly string[] {
  return derived?.headless === false ? derived.clusterIps.slice(0, 2) : [];
}

export function ownedObjects(
  view: ServiceView,
  { own, sources, merged }: Imported,
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
export function currentObjects(view: ServiceView): readonly Current[] {
  const { types, import: made } = view;
  const imports = made?.managed === true ? [{ type: types.imports, object: made.object }] : [];
  return [...imports, ...derivedObjects(view)];
}

export function derivedObjects({ types, derived, derivedSlices }: ServiceView): readonly Current[] {
  return [
    ...(derived?.object === undefined ? [] : [{ type: SERVICES, object: derived.object }]),
    ...derivedSlices.flatMap(({ object }) => (object === undefined ? [] : [{ type: types.slices, object }])),
  ];
}

export function readiness(
  view: Pick<ServiceView, "cluster" | "derived" | "routed">,
  { sources, merged }: Imported,
): ConditionDraft {
  const waiting = sources.filter(({ cluster }) => cluster !== view.cluster && !view.routed.has(cluster));
  const addressed = merged.properties.headless === true || (view.derived?.clusterIps.length ?? 0) > 0;
  const type = "Ready";
  if (addressed && waiting.length < sources.length)
    return { type, status: "True", reason: "Ready", message: "it can be called from this cluster" };
  const message = addressed
    ? `waiting for a way to ${waiting.map(({ cluster }) => cluster).join(", ")}`
    : "waiting for its address";
  return { type, status: "False", reason: "Pending", message };
}

export function planImportStatus(
  view: ServiceView,
  sources: readonly ServiceSource[],
  drafts: readonly ConditionDraft[],
): readonly Change[] {
  const { import: made, types, now } = view;
  if (made === undefined || made.uid === "") return [];
  const clusters = sources.map(({ cluster }) => ({ cluster }));
  const { generation = 1 } = made.object.metadata;
  const conditions = conditionsToWrite(drafts, made.object.status, generation, now);
  const live = fieldsOf(made.object.status)["clusters"];
  if (conditions === undefined && covers(live ?? [], clusters)) return [];
  const kept = list(fieldsOf(made.object.status)["conditions"]);
  return [statusChange(types.imports, view, { clusters, conditions: conditions ?? kept })];
}
