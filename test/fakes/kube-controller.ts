// What a controller stands on, without a registry: for tests of what it does to an API server.
import { ok } from "../../federation/model/result.ts";
import type { AppliedResource } from "../../federation/model/resource.ts";
import type { Snapshot, SnapshotOffer } from "../../federation/model/snapshot.ts";
import type { MemberClient } from "../../gateway/discovery/index.ts";
import { type Clock, systemClock } from "../../gateway/process/clock.ts";

/** Retries that take seconds in life: what is tried is that they end well, not how long they take. */
export const HASTY: Clock = {
  now: systemClock.now,
  after: (ms, run) => systemClock.after(Math.min(ms / 20, 50), run),
};

/** Answers declarations as the registry does, with the first time that it saw each name. */
export function fakeRegistry(): MemberClient {
  return {
    async request({ body }) {
      const { resources } = body as { resources: readonly AppliedResource[] };
      const results = resources.map(({ kind, metadata }) => ({
        kind,
        metadata: { ...metadata, firstSeen: "2026-01-01T00:00:00Z", resourceVersion: 1 },
        action: "unchanged",
        conditions: [],
      }));
      return ok({ status: 200, text: JSON.stringify({ revision: 1, results }) });
    },
  };
}

/** Of a cluster that may call all of these. */
export function snapshotOf(revision: number, offers: readonly SnapshotOffer[]): Snapshot {
  const imports = offers.map(({ namespace, name, cluster, ports }) => ({
    namespace,
    name,
    from: { namespace, name, cluster, trustDomain: `${cluster}.test.mesh` },
    ports,
    workloads: ["*"],
  }));
  return { revision, imports, offers } as unknown as Snapshot;
}

export function offerOf(namespace: string, name: string, cluster: string): SnapshotOffer {
  return {
    namespace,
    name,
    cluster,
    ports: [{ port: 80, protocol: "http" }],
    firstSeen: "2026-02-01T00:00:00Z",
  };
}
