import { applyDraft } from "./change.ts";
import { SeenNames } from "./seen-names.ts";
import { appliedResources, type FederationState, type Item } from "./state.ts";

/** A whole state as a plain value; kinds of objects are not told apart in here. */
export interface StateDocument {
  readonly federation: string;
  readonly revision: number;
  /** Clusters first, then what belongs to them. */
  readonly items: readonly Item[];
  readonly firstSeen: readonly (readonly [key: string, time: string])[];
  readonly snapshots: readonly (readonly [cluster: string, revision: number])[];
}

export function toStateDocument(state: FederationState): StateDocument {
  const clusters = [...state.clusters.values()];
  return {
    federation: state.federation,
    revision: state.revision,
    items: [
      ...clusters.map(({ record }): Item => ({ kind: "Cluster", value: record })),
      ...clusters.flatMap((cluster): readonly Item[] => [
        ...(cluster.services.size === 0
          ? []
          : [
              {
                kind: "Services",
                cluster: cluster.record.name,
                value: [...cluster.services.values()],
              } as const,
            ]),
        ...appliedResources(cluster).map((value): Item => ({ kind: "Applied", value })),
      ]),
      ...(state.signing === undefined ? [] : [{ kind: "SigningKeys", value: state.signing } as const]),
    ],
    firstSeen: [...state.firstSeen.entries()],
    snapshots: clusters.map(({ record, snapshotRevision }) => [record.name, snapshotRevision]),
  };
}

export function emptyState(federation: string): FederationState {
  return { federation, revision: 0, clusters: new Map(), firstSeen: SeenNames.none };
}

export function fromStateDocument(document: StateDocument): FederationState {
  const { federation, revision, items } = document;
  const audit = { action: "load", targets: [] };
  const filled = applyDraft(emptyState(federation), { revision, puts: items, deletes: [], audit }, "");
  const revisions = new Map(document.snapshots);
  const clusters = [...filled.clusters].map(([name, cluster]) => {
    const snapshotRevision = revisions.get(name) ?? cluster.snapshotRevision;
    return [name, { ...cluster, snapshotRevision }] as const;
  });
  return { ...filled, firstSeen: SeenNames.from(document.firstSeen), clusters: new Map(clusters) };
}
