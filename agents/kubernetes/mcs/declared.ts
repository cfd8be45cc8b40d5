import {
  API_VERSION,
  type AppliedResource,
  type ExportConsumer,
} from "../../../federation/model/resource.ts";
import type { SnapshotOffer } from "../../../federation/model/snapshot.ts";
import type { KubeExport, KubeImport, KubeNamespace } from "../digest/mcs.ts";
import type { KubeService } from "../digest/service.ts";
import { ANNOTATION } from "../labels.ts";
import { isDeleting, readAlias } from "./alias.ts";
import type { ImportName } from "./objects.ts";
import { isExported, propertiesOf } from "./service-view.ts";

export interface DeclaredView {
  readonly cluster: string;
  readonly services: ReadonlyMap<string, KubeService>;
  readonly exports: ReadonlyMap<string, KubeExport>;
  readonly imports: ReadonlyMap<string, KubeImport>;
  readonly namespaces: ReadonlyMap<string, KubeNamespace>;
  readonly offers: readonly SnapshotOffer[];
  /** Whether what this cluster exports under a name is all part of what the name means here; see `takesPart`. */
  readonly ownTakesPart: (key: string) => boolean;
}

/** What this cluster's objects say to the registry: what it exports to whom, and what it accepts. Pure. */
export function declaredResources(view: DeclaredView): readonly AppliedResource[] {
  const exports = declaredExports(view);
  return [...exports, ...declaredImports(view, exports)];
}

type DeclaredExport = Extract<AppliedResource, { readonly kind: "ServiceExport" }>;

function declaredExports({ cluster, services, exports }: DeclaredView): readonly DeclaredExport[] {
  const keys = new Set(exports.keys());
  for (const [key, { exportLabel }] of services) if (exportLabel) keys.add(key);
  const declared: DeclaredExport[] = [];
  for (const key of [...keys].sort()) {
    const service = services.get(key);
    const exported = exports.get(key);
    if (service === undefined || !isDeclared({ service, export: exported })) continue;
    const { namespace, name } = service;
    declared.push({
      apiVersion: API_VERSION,
      kind: "ServiceExport",
      metadata: { cluster, namespace, name },
      spec: {
        consumers: consumersOf(cluster, exported?.settings ?? service.annotations),
        properties: propertiesOf(service, exported),
      },
    });
  }
  return declared;
}

/** Whether the registry is told of it: an export of something that can be called from elsewhere. */
export function isDeclared(own: Parameters<typeof isExported>[0]): boolean {
  return isExported(own) && own.service?.ports.some(({ protocol }) => protocol === "TCP") === true;
}

const LABEL_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** Nobody in particular means every cluster of the federation, which is what MCS says. */
function consumersOf(
  cluster: string,
  settings: { readonly [key: string]: string },
): readonly ExportConsumer[] {
  const names = words(settings[ANNOTATION.consumers]).filter(
    (name) => name !== cluster && LABEL_NAME.test(name),
  );
  const workloads = words(settings[ANNOTATION.workloads]);
  const rest = workloads.length === 0 ? {} : { workloads };
  if (settings[ANNOTATION.consumers] === undefined) return [{ cluster: "*", ...rest }];
  return [...new Set(names)].sort().map((name) => ({ cluster: name, ...rest }));
}

/** By `shop/cart`, whoever exports it: our own cluster too. */
type Exporters = ReadonlyMap<string, readonly string[]>;

/** One import for each name that is exported to a namespace of ours, here or elsewhere, and one for each alias. */
function declaredImports(view: DeclaredView, exports: readonly DeclaredExport[]): readonly AppliedResource[] {
  const aliases = [...view.imports].filter(([, { from }]) => from !== undefined);
  const taken = new Set(aliases.map(([key]) => key));
  const exporters = exportersOf(view, exports);
  const plain = [...exporters].flatMap(([key, clusters]) => {
    if (taken.has(key)) return [];
    const [namespace = "", name = ""] = key.split("/");
    return declaredImport(view, { namespace, name }, acceptedClusters(view, namespace, clusters));
  });
  const chosen = aliases.flatMap(([key, each]) => declaredAlias(view, each, exporters, key));
  return [...plain, ...chosen];
}

function exportersOf(view: DeclaredView, exports: readonly DeclaredExport[]): Exporters {
  const byName = new Map<string, string[]>();
  const add = ({ namespace, name }: ImportName, cluster: string): void => {
    const key = `${namespace}/${name}`;
    byName.set(key, [...(byName.get(key) ?? []), cluster]);
  };
  for (const offer of view.offers) if (offer.cluster !== view.cluster) add(offer, offer.cluster);
  // Last: a registry of an earlier release takes our own beside others, and not first.
  for (const { metadata } of exports)
    if (view.ownTakesPart(`${metadata.namespace}/${metadata.name}`)) add(metadata, view.cluster);
  return byName;
}

/** One cluster is asked for whatever it says, so that the registry can tell why not. */
function declaredAlias(
  view: DeclaredView,
  alias: KubeImport,
  exporters: Exporters,
  key: string,
): readonly AppliedResource[] {
  const here = { service: view.services.get(key), export: view.exports.get(key) };
  const source = readAlias(alias, here);
  if ("reason" in source || isDeleting(alias)) return [];
  const { namespace, name } = source;
  const exporting = exporters.get(`${namespace}/${name}`) ?? [];
  const clusters = source.cluster === undefined ? exporting : [source.cluster];
  // What this cluster does not export is known here.
  const possible = clusters.filter((each) => each !== view.cluster || exporting.includes(each));
  const accepted = acceptedClusters(view, alias.namespace, possible);
  return declaredImport(view, alias, accepted, { namespace, name });
}

/** A namespace narrows what it takes from others; what its own cluster exports under the name is always part of it. */
function acceptedClusters(
  { cluster: own, namespaces }: DeclaredView,
  namespace: string,
  clusters: readonly string[],
): readonly string[] {
  const space = namespaces.get(namespace);
  if (space === undefined || space.deleting) return [];
  return clusters.filter((cluster) => cluster === own || isAccepted(space, cluster));
}

/** From all of them at once. */
function declaredImport(
  { cluster: own }: DeclaredView,
  { namespace, name }: ImportName,
  [cluster, ...also]: readonly string[],
  owners: Partial<ImportName> = {},
): readonly AppliedResource[] {
  if (cluster === undefined) return [];
  const from = { cluster, ...(also.length === 0 ? {} : { also }), ...owners };
  const metadata = { cluster: own, namespace, name };
  return [{ apiVersion: API_VERSION, kind: "ServiceImport", metadata, spec: { from } }];
}

/** MCS: a cluster imports what is exported in a namespace that it has too. A namespace may narrow that. */
export function isAccepted(namespace: KubeNamespace | undefined, from: string): boolean {
  if (namespace === undefined || namespace.deleting) return false;
  const setting = namespace.settings[ANNOTATION.importFrom];
  return setting === undefined || words(setting).includes(from);
}

function words(text: string | undefined): readonly string[] {
  return (text ?? "")
    .split(",")
    .map((word) => word.trim())
    .filter((word) => word !== "");
}
