import type { DatabaseSync } from "node:sqlite";
import { applyDraft } from "../../registry/change.ts";
import { SeenNames } from "../../registry/seen-names.ts";
import type { ClusterState, FederationState, Item } from "../../registry/state.ts";
import { fromRow } from "./rows.ts";

/** Rebuilds the state the way changes made it: clusters first, then what belongs to them. */
export function loadState(database: DatabaseSync, federation: string, revision: number): FederationState {
  const items = database.prepare("SELECT * FROM items").all().map(fromRow);
  const seen: [key: string, time: string][] = [];
  for (const row of database.prepare("SELECT key, time FROM first_seen").all())
    seen.push([String(row["key"]), String(row["time"])]);
  const firstSeen = SeenNames.from(seen);
  const empty: FederationState = { federation, revision, clusters: new Map(), firstSeen };
  const isCluster = (item: Item): boolean => item.kind === "Cluster";
  const puts = [...items.filter(isCluster), ...items.filter((item) => !isCluster(item))];
  const audit = { action: "load", targets: [] };
  const filled = applyDraft(empty, { puts, deletes: [], audit }, "");
  return { ...filled, revision, firstSeen, clusters: withRevisions(database, filled.clusters) };
}

function withRevisions(
  database: DatabaseSync,
  clusters: ReadonlyMap<string, ClusterState>,
): ReadonlyMap<string, ClusterState> {
  const revised = new Map(clusters);
  for (const row of database.prepare("SELECT cluster, revision FROM snapshots").all()) {
    const cluster = revised.get(String(row["cluster"]));
    if (cluster !== undefined)
      revised.set(cluster.record.name, { ...cluster, snapshotRevision: Number(row["revision"]) });
  }
  return revised;
}
