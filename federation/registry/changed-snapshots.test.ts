import fc from "fast-check";
import type { ServiceExportResource } from "../model/resource.ts";
import { SeenNames } from "./seen-names.ts";
import { expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { exportOf, importOf, policyOf, rateLimitOf } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { openSqliteStore } from "../store/sqlite/sqlite-store.ts";
import { completeChange, type Planned } from "./change.ts";
import { changedSnapshots } from "./changed-snapshots.ts";
import { compileSnapshot } from "./compile-snapshot.ts";
import { planDeleteCluster, planJoin, planRegister } from "./plan/clusters.ts";
import { planAdvertise, planServices } from "./plan/members.ts";
import { planApply, planDeleteResource } from "./plan/resources.ts";
import { snapshotPieces } from "./snapshot-text.ts";
import type { FederationState } from "./state.ts";

const directory = useTempDirs();

const ROOT = { sequence: 1, x509Authorities: ["cm9vdA=="] };
const TIME = "2026-11-01T00:00:00.000Z";
const CLUSTERS = ["east", "west", "north", "south"];
const SERVICES = ["cart", "pay"];

type Command = (state: FederationState) => Planned<unknown>;

const cluster = fc.constantFrom(...CLUSTERS);
const service = fc.constantFrom(...SERVICES);
const others = fc.subarray(CLUSTERS);

const command: fc.Arbitrary<Command> = fc.oneof(
  cluster.map(
    (name): Command =>
      (state) => {
        const issued = { token: "t", tokenId: `id-${state.revision}`, expiresAt: TIME };
        return planRegister(state, { name, time: TIME, issued });
      },
  ),
  cluster.map(
    (name): Command =>
      (state) => {
        const tokenId = state.clusters.get(name)?.record.joinTokenId ?? "none";
        const ca = { certificatePem: "", certificateDer: "", notAfter: TIME };
        return planJoin(state, { cluster: name, tokenId, ca, time: TIME });
      },
  ),
  cluster.map(
    (name): Command =>
      (state) =>
        planDeleteCluster(state, { name, dryRun: false }),
  ),
  fc.tuple(cluster, fc.subarray(SERVICES)).map(
    ([name, names]): Command =>
      (state) => {
        const services = names.map((each) => ({
          namespace: "shop",
          name: each,
          ports: [{ port: 80, protocol: "http" as const }],
        }));
        return planServices(state, { cluster: name, services, time: TIME });
      },
  ),
  fc.tuple(cluster, fc.option(fc.constantFrom("192.0.2.1:1", "192.0.2.1:2"))).map(
    ([name, address]): Command =>
      (state) =>
        planAdvertise(state, { cluster: name, member: "gateway-1", address: address ?? undefined }),
  ),
  fc.tuple(cluster, service, others).map(([owner, name, consumers]): Command => {
    const allowed = consumers.filter((consumer) => consumer !== owner);
    return applying(exportOf(owner, name, ...allowed));
  }),
  // The same consumers with other workloads: what a used export permits changes, and nothing else.
  fc
    .tuple(cluster, service, others, fc.constantFrom("web", "batch"))
    .map(([owner, name, consumers, workload]): Command => {
      const { spec, ...rest } = exportOf(owner, name) as ServiceExportResource;
      const allowed = consumers.filter((consumer) => consumer !== owner);
      const workloads = [`ns/shop/sa/${workload}` as const];
      const named = allowed.map((each) => ({ cluster: each, workloads }));
      return applying({ ...rest, spec: { ...spec, consumers: named } });
    }),
  fc
    .tuple(cluster, service, cluster)
    .map(([owner, name, from]): Command => applying(importOf(owner, name, from))),
  fc.tuple(cluster, service).map(([owner, name]): Command => applying(policyOf(owner, "p", name))),
  fc
    .tuple(
      cluster,
      fc.constantFrom("ServiceImport" as const, "Service" as const),
      service,
      fc.option(cluster),
    )
    .map(
      ([owner, kind, name, from]): Command =>
        applying(rateLimitOf(owner, "limit", kind, name, from === null ? [] : [{ cluster: from }])),
    ),
  cluster.map(
    (owner): Command =>
      (state) => {
        const key = { kind: "RateLimit" as const, cluster: owner, namespace: "shop", name: "limit" };
        return planDeleteResource(state, { key, resourceVersion: undefined, dryRun: false });
      },
  ),
  fc.tuple(fc.constantFrom("ServiceExport" as const, "ServiceImport" as const), cluster, service).map(
    ([kind, owner, name]): Command =>
      (state) => {
        const key = { kind, cluster: owner, namespace: "shop", name };
        return planDeleteResource(state, { key, resourceVersion: undefined, dryRun: false });
      },
  ),
);

function applying(resource: ReturnType<typeof exportOf>): Command {
  return (state) => planApply(state, { resources: [resource], dryRun: false, time: TIME });
}

function emptyState(): FederationState {
  return { federation: "demo.mesh", revision: 0, clusters: new Map(), firstSeen: SeenNames.none };
}

function step(before: FederationState, run: Command) {
  const planned = run(before);
  if (!planned.ok || planned.value.draft === undefined) return undefined;
  return completeChange(before, planned.value.draft, { time: TIME, actor: "tester" }, (a, b, draft) =>
    changedSnapshots(a, b, draft, ROOT),
  );
}

function compiled(state: FederationState): ReadonlyMap<string, string> {
  return new Map(
    [...state.clusters].map(([name, each]) => [name, JSON.stringify(compileSnapshot(state, each, ROOT))]),
  );
}

test("finds exactly the clusters whose snapshot a change alters, whatever the changes were before", () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 30, maxLength: 80 }), (commands) => {
      let state = emptyState();
      for (const run of commands) {
        const done = step(state, run);
        if (done === undefined) continue;
        const [before, after] = [compiled(state), compiled(done.after)];
        const altered = [...after].filter(([name, text]) => before.get(name) !== text).map(([name]) => name);
        expect([...done.change.snapshots].sort()).toEqual(altered.sort());
        for (const name of altered)
          expect(done.after.clusters.get(name)?.snapshotRevision).toBe(done.after.revision);
        state = done.after;
      }
    }),
    { numRuns: 200 },
  );
});

test("a snapshot in pieces is the text that JSON makes of it", () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 30, maxLength: 80 }), (commands) => {
      let state = emptyState();
      for (const run of commands) state = step(state, run)?.after ?? state;
      for (const each of state.clusters.values()) {
        const content = compileSnapshot(state, each, ROOT);
        expect(snapshotPieces(content).join("")).toBe(JSON.stringify(content));
      }
    }),
    { numRuns: 100 },
  );
});

test("both ends of a link tell the same story", () => {
  fc.assert(
    fc.property(fc.array(command, { minLength: 30, maxLength: 80 }), (commands) => {
      let state = emptyState();
      for (const run of commands) state = step(state, run)?.after ?? state;
      const snapshots = [...state.clusters.values()].map((each) => compileSnapshot(state, each, ROOT));
      const imported = snapshots.flatMap(({ cluster: to, imports }) =>
        imports.map(({ from }) => `${from.cluster}/${from.name} -> ${to}`),
      );
      const exported = snapshots.flatMap(({ cluster: owner, exports }) =>
        exports.flatMap(({ name, consumers }) =>
          consumers.map((consumer) => `${owner}/${name} -> ${consumer.cluster}`),
        ),
      );
      expect(new Set(exported)).toEqual(new Set(imported));
      for (const { bundles, peers, trustDomain } of snapshots)
        expect(bundles.map((bundle) => bundle.trustDomain)).toEqual([
          trustDomain,
          ...peers.map((peer) => peer.trustDomain),
        ]);
    }),
    { numRuns: 200 },
  );
});

test("what is stored change by change is what is in memory", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 30, maxLength: 60 }), async (commands) => {
      const path = directory();
      const store = unwrap(openSqliteStore(path));
      unwrap(await store.found({ federation: "demo.mesh", adminTokenSha256: "" }));
      let state = emptyState();
      for (const run of commands) {
        const done = step(state, run);
        if (done === undefined) continue;
        unwrap(await store.commit(done.change));
        state = done.after;
      }
      expect(unwrap(await store.load())).toEqual(state);
      store.close();
    }),
    { numRuns: 15 },
  );
});
