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
}

/** What this cluster's objects say to the registry: what it exports to whom, and what it accepts. Pure. */
export function declaredResources(view: DeclaredView): readonly AppliedResource[] {
  return [...declaredExports(view), ...declaredImports(view)];
}

function declaredExports({ cluster, services, exports }: DeclaredView): readonly AppliedResource[] {
  const keys = new Set(exports.keys());
  for (const [key, { exportLabel }] of services) if (exportLabel) keys.add(key);
  const declared: AppliedResource[] = [];
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

/** One import for each name that others offer into a namespace of ours, and one for each alias. */
function declaredImports(view: DeclaredView): readonly AppliedResource[] {
  const aliases = [...view.imports].filter(([, { from }]) => from !== undefined);
  const taken = new Set(aliases.map(([key]) => key));
  const byName = new Map<string, SnapshotOffer[]>();
  for (const offer of view.offers) {
    const key = `${offer.namespace}/${offer.name}`;
    byName.set(key, [...(byName.get(key) ?? []), offer]);
  }
  const plain = [...byName].flatMap(([key, [first, ...others]]) => {
    if (first === undefined || taken.has(key)) return [];
    return declaredImport(view, first, acceptedClusters(view, first.namespace, [first, ...others]));
  });
  const chosen = aliases.flatMap(([key, each]) => declaredAlias(view, each, byName, key));
  return [...plain, ...chosen];
}

/** One cluster is asked for whatever it says, so that the registry can tell why not. */
function declaredAlias(
  view: DeclaredView,
  alias: KubeImport,
  offers: ReadonlyMap<string, readonly SnapshotOffer[]>,
  key: string,
): readonly AppliedResource[] {
  const here = { service: view.services.get(key), export: view.exports.get(key) };
  const source = readAlias(alias, here);
  if ("reason" in source || isDeleting(alias)) return [];
  const { namespace, name } = source;
  const clusters =
    source.cluster === undefined ? (offers.get(`${namespace}/${name}`) ?? []) : [{ cluster: source.cluster }];
  const accepted = acceptedClusters(view, alias.namespace, clusters);
  return declaredImport(view, alias, accepted, { namespace, name });
}

function acceptedClusters(
  { cluster: own, namespaces }: DeclaredView,
  namespace: string,
  sources: readonly { readonly cluster: string }[],
): readonly string[] {
  const space = namespaces.get(namespace);
  return sources
    .map(({ cluster }) => cluster)
    .filter((cluster) => cluster !== own && isAccepted(space, cluster));
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
