import { SeenNames } from "../../federation/registry/seen-names.ts";
import type {
  AppliedResource,
  AuthorizationPolicyResource,
  ServiceResource,
  TrafficRouteResource,
} from "../../federation/model/resource.ts";
import {
  servicesOf,
  type StaticCluster,
  type StaticWorkload,
} from "../../federation/model/static-cluster.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { applyDraft } from "../../federation/registry/change.ts";
import type { ClusterRecord, FederationState, Item } from "../../federation/registry/state.ts";
import { unwrap } from "./pki.ts";

const FEDERATION = "test.mesh";
const API = "isthmus.dev/v1alpha1" as const;

/** What the registry would hold, made by its own functions. */
export function federationState(
  workloads: { readonly east: readonly StaticWorkload[]; readonly west: readonly StaticWorkload[] },
  gateways: ReadonlyMap<string, readonly string[]>,
  routes: readonly (TrafficRouteResource | AuthorizationPolicyResource)[],
): FederationState {
  const time = "2026-01-01T00:00:00Z";
  const empty: FederationState = {
    federation: FEDERATION,
    revision: 0,
    clusters: new Map(),
    firstSeen: SeenNames.none,
  };
  const record = (name: string): Item => ({
    kind: "Cluster",
    value: {
      name,
      state: "joined",
      resourceVersion: 1,
      registeredAt: time,
      authorities: [],
      gateways: (gateways.get(name) ?? []).map((address, index) => ({ id: `gateway-${index + 1}`, address })),
    } satisfies ClusterRecord,
  });
  const services = (cluster: "east" | "west"): Item => ({
    kind: "Services",
    cluster,
    value: reported(cluster, workloads[cluster]),
  });
  const resources: readonly AppliedResource[] = [...LINKS.map(decoded), ...routes];
  const puts: readonly Item[] = [
    record("east"),
    record("west"),
    services("east"),
    services("west"),
    ...resources.map((value): Item => ({ kind: "Applied", value })),
  ];
  return applyDraft(empty, { puts, deletes: [], audit: { action: "test", targets: [] } }, time);
}

function reported(cluster: string, workloads: readonly StaticWorkload[]): readonly ServiceResource[] {
  const file: StaticCluster = {
    apiVersion: API,
    kind: "StaticCluster",
    metadata: { name: cluster },
    spec: { gateways: [], agents: [], workloads },
  };
  return servicesOf(file).map(({ namespace, name, ports, versions }) => ({
    apiVersion: API,
    kind: "Service",
    metadata: { cluster, namespace, name },
    spec: versions === undefined ? { ports } : { ports, versions },
  }));
}

const LINKS = [
  export_("cart", [{ cluster: "west", workloads: ["ns/shop/sa/web", "ns/blog/sa/reader"] }]),
  export_("stock", [{ cluster: "west" }]),
  import_("cart", { cluster: "east" }),
  import_("stock", { cluster: "east" }),
  import_("everywhere", { cluster: "east", also: ["west"], namespace: "shop", name: "cart" }),
];

function export_(name: string, consumers: readonly object[]): object {
  return {
    apiVersion: API,
    kind: "ServiceExport",
    metadata: { cluster: "east", namespace: "shop", name },
    spec: { consumers },
  };
}

function import_(name: string, from: object): object {
  return {
    apiVersion: API,
    kind: "ServiceImport",
    metadata: { cluster: "west", namespace: "shop", name },
    spec: { from },
  };
}

function decoded(document: object): AppliedResource {
  return unwrap(decodeAppliedResource(document));
}
