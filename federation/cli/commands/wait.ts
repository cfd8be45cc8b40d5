import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterStatus } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { EXIT } from "../exit.ts";
import { fail } from "../failure.ts";
import type { Invocation, Outcome } from "../invocation.ts";
import type { RegistryClient } from "../registry-client.ts";

const POLL_MS = 50;

/** Until every member of the clusters has acknowledged the newest snapshot. */
export async function waitUntilApplied(
  { terminal }: Invocation,
  registry: RegistryClient,
  names: ReadonlySet<string>,
  timeoutMs: number,
): Promise<Outcome> {
  const began = terminal.elapsed();
  for (;;) {
    const clusters = await registry.clusters();
    if (!clusters.ok) return clusters;
    const waiting = clusters.value.items.filter((cluster) => names.has(cluster.name)).flatMap(notApplied);
    const took = terminal.elapsed() - began;
    if (waiting.length === 0) {
      terminal.err(`in force in ${[...names].toSorted().join(", ")} after ${Math.round(took)} ms`);
      return ok(EXIT.yes);
    }
    if (took >= timeoutMs) {
      return fail("upstream_timeout", `not applied everywhere within ${Math.round(timeoutMs / 1000)} s`, {
        why: waiting.join("; "),
        fix: `${terminal.program} check`,
        exit: EXIT.timeout,
      });
    }
    await sleep(Math.min(POLL_MS, timeoutMs - took));
  }
}

/** A cluster that has not joined yet has nobody to wait for. */
function notApplied({ name, state, members, snapshotRevision }: ClusterStatus): readonly string[] {
  if (state === "pending") return [];
  return members
    .filter((member) => member.state === "refused" || member.appliedRevision < snapshotRevision)
    .map((member) =>
      member.state === "refused"
        ? `${name}/${member.member} refused it (${member.code ?? "no code"})`
        : `${name}/${member.member} has revision ${member.appliedRevision} of ${snapshotRevision}`,
    );
}
