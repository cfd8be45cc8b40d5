import type { Snapshot, SnapshotExport, SnapshotImport } from "../../federation/model/snapshot.ts";
import { parseSpiffeId, type SpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import { compileTables, type RouteTables } from "../../gateway/dataplane/routing/tables.ts";
import { unwrap } from "./pki.ts";

export const EAST = "east.test.mesh" as TrustDomain;
export const WEST = "west.test.mesh" as TrustDomain;

export const CART = { namespace: "shop", name: "cart" } as const;

/** `west/shop/web` of test.mesh, `east/isthmus-system/gateway`, … */
export function id(short: string): SpiffeId {
  const [cluster, namespace, account] = short.split("/");
  return unwrap(parseSpiffeId(`spiffe://${cluster}.test.mesh/ns/${namespace}/sa/${account}`));
}

export function importRule(change: Partial<SnapshotImport> = {}): SnapshotImport {
  const from = { ...CART, cluster: "east", trustDomain: EAST };
  return { ...CART, from, ports: [{ port: 80, protocol: "http" }], workloads: ["ns/shop/sa/web"], ...change };
}

export function exportRule(change: Partial<SnapshotExport> = {}): SnapshotExport {
  const consumers = [{ cluster: "west", trustDomain: WEST, workloads: ["ns/shop/sa/web"] }];
  return { ...CART, ports: [{ port: 80, protocol: "http" }], consumers, ...change };
}

/** West, which imports cart.shop from east for its web; a case states only what differs. */
export function westSnapshot(change: Partial<Snapshot> = {}): Snapshot {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Snapshot",
    federation: "test.mesh",
    cluster: "west",
    trustDomain: WEST,
    revision: 7,
    issuedAt: "2026-01-01T00:00:00Z",
    bundles: [],
    denied: [],
    peers: [],
    imports: [importRule()],
    exports: [],
    egress: { policies: [] },
    ...change,
  };
}

/** East, which exports cart.shop to west's web. */
export function eastSnapshot(change: Partial<Snapshot> = {}): Snapshot {
  return westSnapshot({
    cluster: "east",
    trustDomain: EAST,
    imports: [],
    exports: [exportRule()],
    ...change,
  });
}

export function westTables(change: Partial<Snapshot> = {}): RouteTables {
  return compileTables(westSnapshot(change));
}

export function eastTables(change: Partial<Snapshot> = {}): RouteTables {
  return compileTables(eastSnapshot(change));
}

/** A policy that has the last hop read requests; it denies none that tests send. */
export function withPathPolicy(snapshot: Snapshot): Snapshot {
  const policy = {
    name: "shop/admin",
    namespace: "shop",
    services: [],
    ports: [],
    action: "deny",
    mode: "enforce",
    to: [{ paths: [{ type: "PathPrefix", value: "/admin" }] }],
  } as const;
  return snapshot.exports.length === 0 ? snapshot : { ...snapshot, authorization: [policy] };
}
