import { type Issue, type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { decodeSnapshot } from "../../federation/model/wire/snapshot.ts";
import type { ClusterState } from "./cluster-state.ts";

export type SnapshotOwner = Pick<ClusterState, "federation" | "cluster" | "trustDomain">;

const MAX_ISSUES_TOLD = 5;

/** Whether a snapshot whose signature holds may replace the one in force (`revision`). All or nothing. */
export function judgeSnapshot(
  payload: unknown,
  owner: SnapshotOwner,
  revision: number | undefined,
): Result<Snapshot, Problem> {
  const decoded = decodeSnapshot(payload);
  if (!decoded.ok) return err(problem("snapshot_malformed", describe(decoded.error)));
  const snapshot = decoded.value;
  if (snapshot.federation !== owner.federation || snapshot.cluster !== owner.cluster) {
    const theirs = `${snapshot.cluster} of ${snapshot.federation}`;
    return err(
      problem(
        "snapshot_foreign",
        `it is for cluster ${theirs}, this is ${owner.cluster} of ${owner.federation}`,
      ),
    );
  }
  if (snapshot.trustDomain !== owner.trustDomain) {
    return err(
      problem("snapshot_foreign", `it is for ${snapshot.trustDomain}, this is ${owner.trustDomain}`),
    );
  }
  if (revision !== undefined && snapshot.revision < revision) {
    return err(
      problem("snapshot_revision_lower", `it has revision ${snapshot.revision}, in force is ${revision}`),
    );
  }
  // Without it the cluster's own processes would no longer know each other.
  if (!snapshot.bundles.some(({ trustDomain }) => trustDomain === owner.trustDomain)) {
    return err(problem("snapshot_malformed", "bundles: this cluster's own bundle is missing"));
  }
  return ok(snapshot);
}

function describe(issues: readonly Issue[]): string {
  const told = issues.slice(0, MAX_ISSUES_TOLD).map(({ path, message }) => `${path}: ${message}`);
  const rest = issues.length - told.length;
  return told.join("; ") + (rest > 0 ? `; and ${rest} more` : "");
}
