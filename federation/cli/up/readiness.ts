import type { ClusterStatus, WorkloadListenerStatus } from "../../model/resource.ts";
import type { ExpectedImport, ProcessSpec } from "./plan.ts";

/** What is known of one process at a moment. */
export interface ProcessView {
  readonly spec: ProcessSpec;
  readonly running: boolean;
  readonly listeners: readonly WorkloadListenerStatus[];
}

/** An import with the address at which its workload reaches it. */
export type ImportAddress = ExpectedImport & { readonly address: string };

/** Everything that is still awaited, in words; empty: the processes serve. */
export function missingProcesses(
  views: readonly ProcessView[],
  imports: readonly ExpectedImport[],
): readonly string[] {
  const missing: string[] = [];
  for (const { spec, running, listeners } of views) {
    if (!running) missing.push(`${spec.name} is not ready`);
    else if (spec.servesWorkloads) {
      const own = imports.filter((expected) => expected.cluster === spec.cluster);
      for (const expected of own.filter((one) => addressIn(listeners, one) === undefined)) {
        missing.push(`${spec.name} has no address for ${describeImport(expected)}`);
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
  return imports.flatMap((expected) => {
    for (const { spec, listeners } of views) {
      if (!spec.servesWorkloads || spec.cluster !== expected.cluster) continue;
      const address = addressIn(listeners, expected);
      if (address !== undefined) return [{ ...expected, address }];
    }
    return [];
  });
}

function addressIn(
  listeners: readonly WorkloadListenerStatus[],
  { workload, service, port }: ExpectedImport,
): string | undefined {
  return listeners.find(
    (listener) => listener.workload === workload && listener.service === service && listener.port === port,
  )?.address;
}

function describeImport({ workload, service, port }: ExpectedImport): string {
  return `${workload} to ${service}:${port}`;
}
