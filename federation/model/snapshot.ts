import type { OutsideIngress } from "./ingress.ts";
import type { EgressRateLimit, EgressTimeouts, EgressTls, ExternalTarget } from "./egress-policy.ts";
import type { ServiceName, ServicePort } from "./service.ts";
import type { TrustDomain } from "./spiffe-id.ts";
import type { ServiceProperties } from "./resource.ts";
import type { TrustBundle } from "./trust-bundle.ts";
import type { SnapshotRoute } from "./traffic-route.ts";
import type { AuthorizationTarget } from "./authorization-policy.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

/** Everything one cluster may use, compiled by the registry, signed, and immutable. Absence means "not allowed". */
export interface Snapshot {
  readonly apiVersion: "isthmus.dev/v1alpha1";
  readonly kind: "Snapshot";
  readonly federation: string;
  readonly cluster: string;
  readonly trustDomain: TrustDomain;
  /** Monotonic per cluster; a member refuses a lower one. */
  readonly revision: number;
  /** RFC 3339; informative. */
  readonly issuedAt: string;
  /** The cluster's own bundle and those of clusters it shares an export or import with. */
  readonly bundles: readonly TrustBundle[];
  /** Revoked trust domains: live tunnels of these are cut. */
  readonly denied: readonly TrustDomain[];
  readonly peers: readonly SnapshotPeer[];
  readonly imports: readonly SnapshotImport[];
  readonly exports: readonly SnapshotExport[];
  readonly egress: SnapshotEgress;
  /** Absent where there are none. */
  readonly routes?: readonly SnapshotRoute[];
  /** Exports of other clusters that name this one, imported or not: what it could accept. Absent where there are none. */
  readonly offers?: readonly SnapshotOffer[];
  /** Absent: there are none. */
  readonly rules?: SnapshotRules;
  /** Exported services that callers from outside reach at this cluster's gateway. Absent where there are none. */
  readonly ingress?: readonly SnapshotIngress[];
  /** Who may call this cluster's own services. Absent where nobody said. */
  readonly authorization?: readonly SnapshotAuthorization[];
}

/** An AuthorizationPolicy, for its own cluster to enforce where calls arrive. */
export interface SnapshotAuthorization {
  /** `shop/only-web` */
  readonly name: string;
  readonly namespace: string;
  /** Empty: every service of the namespace. */
  readonly services: readonly string[];
  /** Empty: every port. */
  readonly ports: readonly number[];
  /** Absent: every request to those ports. Else one of these, each about its own ports, or all where it names none. */
  readonly to?: readonly AuthorizationTarget[];
  readonly action: "allow" | "deny";
  readonly mode: "observe" | "enforce";
  /** Absent: every caller; empty: none. */
  readonly from?: readonly SnapshotCaller[];
}

export interface SnapshotCaller {
  /** Absent: of any cluster. */
  readonly trustDomain?: TrustDomain;
  readonly workload: WorkloadPattern;
}

export interface SnapshotIngress extends ServiceName, OutsideIngress {}

export interface SnapshotOffer extends ServiceName {
  readonly cluster: string;
  readonly ports: readonly ServicePort[];
  readonly properties?: ServiceProperties;
  /** When the federation first saw the export, RFC 3339. */
  readonly firstSeen: string;
}

/** Another cluster we exchange traffic with. */
export interface SnapshotPeer {
  readonly cluster: string;
  readonly trustDomain: TrustDomain;
  readonly gateways: readonly SnapshotGateway[];
}

export interface SnapshotGateway {
  readonly id: string;
  /** `host:port` or `[v6]:port`. */
  readonly address: string;
}

/**
 * A service of another cluster that this cluster accepted, under its local name. One name may stand several times, once for
 * each cluster that the service is imported from; that may be this cluster itself.
 */
export interface SnapshotImport extends ServiceName {
  readonly from: ServiceName & { readonly cluster: string; readonly trustDomain: TrustDomain };
  readonly ports: readonly ServicePort[];
  /** What its owner reports; absent where no endpoint says one. */
  readonly versions?: readonly string[];
  /** Callers of this cluster that the owner permits. */
  readonly workloads: readonly WorkloadPattern[];
}

export interface SnapshotExport extends ServiceName {
  readonly ports: readonly ServicePort[];
  readonly consumers: readonly SnapshotConsumer[];
}

export interface SnapshotConsumer {
  readonly cluster: string;
  readonly trustDomain: TrustDomain;
  readonly workloads: readonly WorkloadPattern[];
}

/**
 * Once any policy of the cluster enforces, what no enforcing policy allows is denied. Observing policies never deny; a
 * request that only they would have judged is counted.
 */
export interface SnapshotEgress {
  readonly policies: readonly SnapshotEgressPolicy[];
}

export interface SnapshotEgressPolicy {
  readonly name: string;
  readonly mode: "observe" | "enforce";
  readonly from: readonly WorkloadPattern[];
  /** Local names of imported services. */
  readonly to: readonly ServiceName[];
  // What follows is there only where it is used, so that members of an earlier version read the snapshots they can enforce.
  readonly priority?: number;
  readonly external?: readonly ExternalTarget[];
  readonly tls?: EgressTls;
  readonly rateLimit?: EgressRateLimit;
  readonly timeouts?: EgressTimeouts;
}

/** Rules about the traffic to imported services, by their local names; every figure is filled in. */
export interface SnapshotRules {
  readonly rateLimits: readonly SnapshotRateLimit[];
  readonly backends: readonly SnapshotBackend[];
  readonly rollouts: readonly SnapshotRollout[];
}

export interface SnapshotRateLimit {
  /** `west/shop/cart-limit`: the rule's cluster, namespace and name. */
  readonly name: string;
  readonly service: ServiceName;
  /** Only what goes to this cluster: the owner's rule. */
  readonly cluster?: string;
  readonly version?: string;
  /** One of these; empty: every request of this cluster. */
  readonly from: readonly SnapshotOrigin[];
  readonly requests: number;
  readonly unitMs: number;
  readonly burst: number;
  readonly scope: "Local" | "Shared";
  readonly mode: "observe" | "enforce";
}

/** All that is given must fit. */
export interface SnapshotOrigin {
  readonly workload?: WorkloadPattern;
  readonly header?: { readonly name: string; readonly value: string };
}

export interface SnapshotBackend {
  readonly name: string;
  readonly service: ServiceName;
  /** Only what goes to this cluster: the owner's policy. */
  readonly cluster?: string;
  readonly mode: "observe" | "enforce";
  readonly failover?: {
    /** First to last; clusters that none names come after them all. */
    readonly levels: readonly (readonly { readonly cluster: string; readonly weight: number }[])[];
    readonly overprovisioning: number;
    readonly panicThreshold: number;
    readonly failbackDelayMs: number;
    readonly failbackRampMs: number;
  };
  readonly outlier?: {
    readonly consecutiveErrors: number;
    readonly baseEjectionMs: number;
    readonly maxEjectionMs: number;
    readonly maxEjectionPercent: number;
  };
  readonly circuit?: {
    readonly maxConnections?: number;
    readonly maxPendingRequests?: number;
    readonly maxParallelRequests?: number;
  };
  readonly session?: {
    readonly name: string;
    readonly type: "Cookie" | "Header";
    readonly absoluteTimeoutMs?: number;
    /** The cookie outlives the browser. */
    readonly permanent: boolean;
  };
  readonly retry?: {
    readonly percent: number;
    readonly intervalMs: number;
    readonly minCount: number;
    readonly minIntervalMs: number;
  };
}

export interface SnapshotRollout {
  readonly name: string;
  readonly service: ServiceName;
  /** Only what goes to this cluster: the owner's rollout. */
  readonly cluster?: string;
  readonly stable: string;
  readonly canary: string;
  /** Percent of the requests that go to the canary, or would. */
  readonly weight: number;
  /** Absent: it is in force. So a member that knows nothing of it refuses just what it would wrongly enforce. */
  readonly mode?: "observe";
}
