import type { ServiceExportResource, ServiceImportResource } from "../model/resource.ts";
import type { Draft } from "./change.ts";
import { compileSnapshot, type RootBundle } from "./compile-snapshot.ts";
import { type FederationState, findResource, type ItemKey, keyOf } from "./state.ts";

/**
 * The clusters whose snapshot has other content after a draft. Only clusters that the changed objects name are compiled
 * and compared: with thousands of clusters, compiling all of them for each change would cost seconds.
 */
export function changedSnapshots(
  before: FederationState,
  after: FederationState,
  draft: Draft,
  root: RootBundle,
): readonly string[] {
  const touched = new Set<string>();
  for (const key of [...draft.puts.map(keyOf), ...draft.deletes]) {
    for (const state of [before, after]) for (const name of touchedBy(state, key)) touched.add(name);
  }
  return [...touched].filter((name) => {
    const next = after.clusters.get(name);
    if (next === undefined) return false;
    const previous = before.clusters.get(name);
    if (previous === undefined) return true;
    return (
      JSON.stringify(compileSnapshot(before, previous, root)) !==
      JSON.stringify(compileSnapshot(after, next, root))
    );
  });
}

function touchedBy(state: FederationState, key: ItemKey): readonly string[] {
  switch (key.kind) {
    case "EgressPolicy":
      return [key.cluster];
    case "ServiceExport":
    case "ServiceImport": {
      const resource = findResource(state, key);
      return resource === undefined || resource.kind === "EgressPolicy"
        ? []
        : [key.cluster, ...namedBy(resource)];
    }
    case "Cluster":
    case "Services": {
      const cluster = state.clusters.get(key.cluster);
      if (cluster === undefined) return [];
      return [key.cluster, ...[...cluster.exports.values(), ...cluster.imports.values()].flatMap(namedBy)];
    }
  }
}

/** A live link needs both halves, so that every cluster at its other end is named by one of ours. */
function namedBy(resource: ServiceExportResource | ServiceImportResource): readonly string[] {
  return resource.kind === "ServiceExport"
    ? resource.spec.consumers.map(({ cluster }) => cluster)
    : [resource.spec.from.cluster];
}
