import type { EgressRateLimit, EgressTimeouts, EgressTls, ExternalTarget } from "./egress-policy.ts";
import type { ServiceName, ServicePort } from "./service.ts";
import type { TrustDomain } from "./spiffe-id.ts";
import type { ServiceProperties } from "./resource.ts";
import type { TrustBundle } from "./trust-bundle.ts";
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
  /** Exports of other clusters that name this one, imported or not: what it could accept. Absent where there are none. */
  readonly offers?: readonly SnapshotOffer[];
}

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
