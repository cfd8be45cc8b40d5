import type { AuthorizationPolicySpec } from "./authorization-policy.ts";
import type { OutsideIngress } from "./ingress.ts";
import type { EgressPolicySpec } from "./egress-policy.ts";
import type { PortProtocol, ServicePort } from "./service.ts";
import type { SystemRole, TrustDomain } from "./spiffe-id.ts";
import type {
  BackendTrafficPolicySpec,
  RateLimitSpec,
  RolloutProgress,
  RolloutSpec,
} from "./traffic-policy.ts";
import type { TrafficRouteSpec } from "./traffic-route.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

export const API_VERSION = "isthmus.dev/v1alpha1";

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  /** One of the enumerated words of the condition's type. */
  readonly reason: string;
  readonly message: string;
}

interface ResourceOf<Kind extends string, Metadata, Spec> {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: Kind;
  readonly metadata: Metadata;
  readonly spec: Spec;
}

/** `resourceVersion` is the federation revision of the last change; written back, it is a condition of the write. */
interface Versioned {
  readonly resourceVersion?: number;
  /** First time the federation saw the object, RFC 3339; survives re-creation, so conflicts are settled by it. */
  readonly firstSeen?: string;
  /** The cluster's own control plane declares it, from its Kubernetes objects; absent where an operator applied it. */
  readonly managedBy?: "kubernetes";
}

export interface ClusterScopedName {
  readonly cluster: string;
  readonly name: string;
}

export interface NamespacedName extends ClusterScopedName {
  readonly namespace: string;
}

export type ClusterResource = ResourceOf<
  "Cluster",
  { readonly name: string } & Versioned,
  Record<string, never>
>;

/** A service that exists in a cluster, reported by its gateway; endpoints stay there. */
export type ServiceResource = ResourceOf<
  "Service",
  NamespacedName & Versioned,
  { readonly ports: readonly ServicePort[]; readonly versions?: readonly string[] }
>;

export type ServiceExportResource = ResourceOf<
  "ServiceExport",
  NamespacedName & Versioned,
  {
    readonly consumers: readonly ExportConsumer[];
    readonly properties?: ServiceProperties;
    /** Where callers who are not in the federation enter, at the cluster's own gateway. */
    readonly ingress?: readonly OutsideIngress[];
  }
>;

/** How the exported Service behaves: importers make theirs alike (KEP-1645). Absent fields are Kubernetes' defaults. */
export interface ServiceProperties {
  readonly headless?: boolean;
  readonly sessionAffinity?: "ClientIP";
  readonly sessionAffinitySeconds?: number;
  readonly internalTrafficPolicy?: "Local";
  readonly trafficDistribution?: string;
  readonly ipFamilies?: readonly ("IPv4" | "IPv6")[];
  /** Names, numbers and application protocols of its ports, as the importers' Services repeat them. */
  readonly ports?: readonly {
    readonly port: number;
    readonly name?: string;
    readonly appProtocol?: string;
  }[];
  readonly labels?: { readonly [key: string]: string };
  readonly annotations?: { readonly [key: string]: string };
}

export interface ExportConsumer {
  /** A name, or `*` for every cluster of the federation. */
  readonly cluster: string;
  /** Absent: every workload of that cluster. */
  readonly workloads?: readonly WorkloadPattern[];
}

export type ServiceImportResource = ResourceOf<
  "ServiceImport",
  NamespacedName & Versioned,
  /** Namespace and name default to the import's own; giving them makes the import an alias. */
  {
    readonly from: {
      readonly cluster: string;
      /** Further clusters that have the service; its traffic goes to all of them. The importing cluster itself may be one. */
      readonly also?: readonly string[];
      readonly namespace?: string;
      readonly name?: string;
    };
  }
>;

/** Every cluster that an import takes its service from, each once. */
export function sourceClusters({ spec }: ServiceImportResource): readonly string[] {
  const { cluster, also } = spec.from;
  return also === undefined ? [cluster] : [...new Set([cluster, ...also])];
}

export type EgressPolicyResource = ResourceOf<
  "EgressPolicy",
  ClusterScopedName & Versioned,
  EgressPolicySpec
>;

export type RateLimitResource = ResourceOf<"RateLimit", NamespacedName & Versioned, RateLimitSpec>;

export type BackendTrafficPolicyResource = ResourceOf<
  "BackendTrafficPolicy",
  NamespacedName & Versioned,
  BackendTrafficPolicySpec
>;

export type RolloutResource = ResourceOf<"Rollout", NamespacedName & Versioned, RolloutSpec> & {
  /** Written by the registry only; a changed spec begins anew. */
  readonly progress?: RolloutProgress;
};

export type TrafficRouteResource = ResourceOf<"TrafficRoute", NamespacedName & Versioned, TrafficRouteSpec>;

export type AuthorizationPolicyResource = ResourceOf<
  "AuthorizationPolicy",
  NamespacedName & Versioned,
  AuthorizationPolicySpec
>;

/** Namespaced rules about the traffic to services: they differ only in what they say. */
export type RuleResource =
  | RateLimitResource
  | BackendTrafficPolicyResource
  | RolloutResource
  | AuthorizationPolicyResource;
export type RuleKind = RuleResource["kind"];

/** What people write: `isthmus apply` takes these. Clusters are registered, services reported. */
export type AppliedResource =
  | ServiceExportResource
  | ServiceImportResource
  | TrafficRouteResource
  | EgressPolicyResource
  | RuleResource;
export type AppliedKind = AppliedResource["kind"];
export type Resource = ClusterResource | ServiceResource | AppliedResource;

/** A resource as the registry answers it. */
export type WithStatus<R> = R & { readonly status: { readonly conditions: readonly Condition[] } };

/** What a member process reports of itself, with every applied revision and as a heartbeat. */
export interface MemberReport {
  readonly role: SystemRole;
  readonly version: string;
  readonly appliedRevision: number;
  readonly state: "applied" | "refused";
  /** The refusal's problem code, when `refused`. */
  readonly code?: string;
  /** Gateways only: where other clusters reach it, `host:port`. A change of it is a change of the federation. */
  readonly advertise?: string;
  /** Where this member answers health, metrics and probes; usually loopback. */
  readonly admin?: string;
  /** Where this member listens for workloads (static clusters). */
  readonly listeners: readonly WorkloadListenerStatus[];
  /** Tunnels this member keeps to others. */
  readonly tunnels: readonly TunnelStatus[];
  /** What it measured of the canaries of rollouts, since it started. */
  readonly canaries?: readonly CanaryReport[];
}

/** Upper bounds of the latency buckets; what is longer comes into one more. */
export const CANARY_LATENCY_BOUNDS_MS: readonly number[] = [
  5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000,
];

export interface CanaryStats {
  readonly requests: number;
  /** 5xx, and no answer at all. */
  readonly failures: number;
  /** Requests by bucket, until the head of the answer. */
  readonly latency: readonly number[];
}

export interface CanaryReport extends CanaryStats {
  /** `east/shop/cart`: the rollout. */
  readonly name: string;
}

/** One member process of a cluster, as the registry last heard of it. */
export interface MemberStatus extends MemberReport {
  /** `gateway-1`, `agent-1`. */
  readonly member: string;
  readonly lastSeen: string;
}

export interface TunnelStatus {
  /** Cluster at the other end. */
  readonly cluster: string;
  readonly address: string;
  readonly state: "up" | "connecting" | "down";
  /** Why it is not up. */
  readonly code?: string;
}

export interface WorkloadListenerStatus {
  /** `ns/shop/sa/web` */
  readonly workload: string;
  /** `cart.shop` */
  readonly service: string;
  readonly port: number;
  readonly address: string;
  readonly protocol?: ProtocolStatus;
  /** A way out of the federation instead of a service: the address of one external host, the HTTP proxy, or by SNI. */
  readonly way?: "address" | "proxy" | "sni";
}

/** A listener that cannot be opened for now; it is tried again. */
export interface WorkloadListenerFailure
  extends Pick<WorkloadListenerStatus, "workload" | "service" | "port"> {
  readonly code: string;
  readonly detail: string;
}

/** How a listener understands its connections, and who said so. */
export interface ProtocolStatus {
  readonly name: PortProtocol;
  /** `declared as kubernetes.io/h2c`, or what was detected so far. */
  readonly why: string;
}

export interface ClusterStatus {
  readonly name: string;
  readonly trustDomain: TrustDomain;
  readonly state: "pending" | "joined";
  readonly registeredAt: string;
  readonly joinedAt?: string;
  /** Not after of the cluster's CA certificate. */
  readonly caNotAfter?: string;
  readonly gateways: readonly { readonly id: string; readonly address: string }[];
  readonly members: readonly MemberStatus[];
  /** The snapshot revision that every member should have applied. */
  readonly snapshotRevision: number;
}
