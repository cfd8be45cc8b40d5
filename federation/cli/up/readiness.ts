import type { ClusterStatus, WorkloadListenerFailure, WorkloadListenerStatus } from "../../model/resource.ts";
import type { ExpectedImport, ProcessSpec } from "./plan.ts";

/** What is known of one process at a moment. */
export interface ProcessView {
  readonly spec: ProcessSpec;
  readonly running: boolean;
  readonly listeners: readonly WorkloadListenerStatus[];
  readonly failures: readonly WorkloadListenerFailure[];
}

/** An import with the address at which its workload reaches it. */
export type ImportAddress = ExpectedImport & { readonly address: string };

/** Everything that is still awaited, in words; empty: the processes serve. */
export function missingProcesses(
  views: readonly ProcessView[],
  imports: readonly ExpectedImport[],
): readonly string[] {
  const missing: string[] = [];
  for (const { spec, running, listeners, failures } of views) {
    if (!running) missing.push(`${spec.name} is not ready`);
    else if (spec.servesWorkloads) {
      const addresses = addressesOf(listeners);
      const reasons = reasonsOf(failures);
      for (const expected of imports) {
        const what = describeImport(expected);
        if (expected.cluster !== spec.cluster || addresses.has(what)) continue;
        missing.push(`${spec.name} has no address for ${what}${reasons.get(what) ?? ""}`);
      }
    }
  }
  return missing;
}

/** Members that have not acknowledged the newest snapshot of their cluster, or lack a tunnel that calls need. */
export function missingAcknowledgements(
  processes: readonly ProcessSpec[],
  clusters: readonly ClusterStatus[],
): readonly string[] {
  return processes.flatMap(({ name, cluster, env, tunnelsTo }) => {
    if (cluster === undefined) return [];
    const status = clusters.find((candidate) => candidate.name === cluster);
    const member = status?.members.find((candidate) => candidate.member === env["ISTHMUS_MEMBER"]);
    if (status === undefined || member === undefined) return [`${name} has not reported to the registry`];
    if (member.state === "refused") return [`${name} refused its snapshot (${member.code ?? "no code"})`];
    if (member.appliedRevision < status.snapshotRevision) {
      return [`${name} applied revision ${member.appliedRevision}, not ${status.snapshotRevision} yet`];
    }
    const up = member.tunnels.filter(({ state }) => state === "up").map((tunnel) => tunnel.cluster);
    return tunnelsTo
      .filter((peer) => !up.includes(peer))
      .map((peer) => `${name} has no tunnel to ${peer} yet`);
  });
}

/** The addresses of all imports, as one of the processes that serve them says; they share them. */
export function importAddresses(
  views: readonly ProcessView[],
  imports: readonly ExpectedImport[],
): readonly ImportAddress[] {
  const serving = views
    .filter(({ spec }) => spec.servesWorkloads)
    .map(({ spec, listeners }) => ({ cluster: spec.cluster, addresses: addressesOf(listeners) }));
  return imports.flatMap((expected) => {
    for (const { cluster, addresses } of serving) {
      const address = cluster === expected.cluster ? addresses.get(describeImport(expected)) : undefined;
      if (address !== undefined) return [{ ...expected, address }];
    }
    return [];
  });
}

/** By the import's description: there may be thousands, and they are asked about again and again. */
function addressesOf(listeners: readonly WorkloadListenerStatus[]): ReadonlyMap<string, string> {
  return new Map(listeners.map((listener) => [describeImport(listener), listener.address]));
}

/** By the same. */
function reasonsOf(failures: readonly WorkloadListenerFailure[]): ReadonlyMap<string, string> {
  return new Map(
    failures.map((failure) => [describeImport(failure), ` (${failure.code}: ${failure.detail})`]),
  );
}

function describeImport({ workload, service, port }: Omit<ExpectedImport, "cluster">): string {
  return `${workload} to ${service}:${port}`;
}
