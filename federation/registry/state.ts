import { parseTrustDomain, type TrustDomain } from "../model/spiffe-id.ts";
import type {
  AppliedKind,
  AppliedResource,
  EgressPolicyResource,
  RuleResource,
  ServiceExportResource,
  ServiceImportResource,
  ServiceResource,
  TrafficRouteResource,
} from "../model/resource.ts";
import type { ServiceName } from "../model/service.ts";
import type { SnapshotGateway } from "../model/snapshot.ts";
import type { SeenNames } from "./seen-names.ts";
import type { SigningRing } from "./signing-ring.ts";

/**
 * Everything the registry decides from, as one immutable value. A change makes the next value; readers keep the one
 * they began with. It is grouped by cluster, so that a change copies one cluster's maps and not the federation's.
 */
export interface FederationState {
  readonly federation: string;
  /** Grows by one with every change; the condition of every write. */
  readonly revision: number;
  readonly clusters: ReadonlyMap<string, ClusterState>;
  /** When a name was first used, RFC 3339; outlives the object, so that re-creating it does not make it younger. */
  readonly firstSeen: SeenNames;
  /** Absent while the key that the federation was founded with is the only one there was. */
  readonly signing?: SigningRing;
}

export interface ClusterState {
  readonly record: ClusterRecord;
  /** Federation revision at which this cluster's snapshot last changed its content. */
  readonly snapshotRevision: number;
  /** By `serviceId`. */
  readonly services: ReadonlyMap<string, ServiceResource>;
  readonly exports: ReadonlyMap<string, ServiceExportResource>;
  readonly imports: ReadonlyMap<string, ServiceImportResource>;
  /** By name. */
  readonly policies: ReadonlyMap<string, EgressPolicyResource>;
  /** By `serviceId`. */
  readonly routes: ReadonlyMap<string, TrafficRouteResource>;
  /** By `ruleId`. */
  readonly rules: ReadonlyMap<string, RuleResource>;
}

export interface ClusterRecord {
  readonly name: string;
  readonly state: "pending" | "joined";
  readonly resourceVersion: number;
  readonly registeredAt: string;
  /** The one token that can be spent now; an earlier one is void. */
  readonly joinTokenId?: string;
  /** The token that was spent, so that its second use is told apart from a void one. */
  readonly spentTokenId?: string;
  readonly joinedAt?: string;
  readonly caNotAfter?: string;
  /**
   * CA certificates issued to the cluster since it was registered, newest first, DER in base64. Its members' requests
   * must chain to one of these and not just to the root: a removed cluster's keys stay worthless when its name returns.
   */
  readonly authorities: readonly string[];
  readonly gateways: readonly SnapshotGateway[];
}

/** One stored object: what a change puts. */
export type Item =
  | { readonly kind: "Cluster"; readonly value: ClusterRecord }
  | { readonly kind: "Services"; readonly cluster: string; readonly value: readonly ServiceResource[] }
  | { readonly kind: "Applied"; readonly value: AppliedResource }
  | { readonly kind: "SigningKeys"; readonly value: SigningRing };

/** Names one stored object; `namespace` is empty where the kind has none. */
export interface ItemKey {
  readonly kind: "Cluster" | "Services" | "SigningKeys" | AppliedKind;
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
}

export function keyOf(item: Item): ItemKey {
  switch (item.kind) {
    case "Cluster":
      return { kind: "Cluster", cluster: item.value.name, namespace: "", name: "" };
    case "Services":
      return { kind: "Services", cluster: item.cluster, namespace: "", name: "" };
    case "Applied":
      return resourceKey(item.value);
    case "SigningKeys":
      return { kind: "SigningKeys", cluster: "", namespace: "", name: "" };
  }
}

export function resourceKey(resource: AppliedResource): ItemKey {
  const { cluster, name } = resource.metadata;
  const namespace = resource.kind === "EgressPolicy" ? "" : resource.metadata.namespace;
  return { kind: resource.kind, cluster, namespace, name };
}

/** `ServiceExport/east/shop/cart`: how audit records and messages name an object. */
export function keyText(key: ItemKey): string {
  return [key.kind, key.cluster, key.namespace, key.name].filter((part) => part !== "").join("/");
}

export function serviceId(service: ServiceName): string {
  return `${service.namespace}/${service.name}`;
}

/** Names are checked where they enter; one that does not fit now is a fault of ours. */
export function trustDomainOf(federation: string, cluster: string): TrustDomain {
  const parsed = parseTrustDomain(`${cluster}.${federation}`);
  if (!parsed.ok) throw new TypeError(parsed.error);
  return parsed.value;
}

/** `RateLimit/shop/cart` */
export function ruleId(rule: {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
}): string {
  return `${rule.kind}/${rule.namespace}/${rule.name}`;
}

export function findResource(state: FederationState, key: ItemKey): AppliedResource | undefined {
  const cluster = state.clusters.get(key.cluster);
  switch (key.kind) {
    case "ServiceExport":
      return cluster?.exports.get(serviceId(key));
    case "ServiceImport":
      return cluster?.imports.get(serviceId(key));
    case "EgressPolicy":
      return cluster?.policies.get(key.name);
    case "TrafficRoute":
      return cluster?.routes.get(serviceId(key));
    case "RateLimit":
    case "AuthorizationPolicy":
    case "BackendTrafficPolicy":
    case "Rollout":
      return cluster?.rules.get(ruleId({ ...key, kind: key.kind }));
    case "Cluster":
    case "Services":
    case "SigningKeys":
      return undefined;
  }
}

export function appliedResources(cluster: ClusterState): readonly AppliedResource[] {
  const { exports, imports, policies, routes, rules } = cluster;
  return [exports, imports, policies, routes, rules].flatMap((map) => [...map.values()]);
}
