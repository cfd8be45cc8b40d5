import type { TrustDomain } from "./spiffe-id.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

/** Observing rules judge, count and log, and leave traffic alone. */
export type RuleMode = "observe" | "enforce";

/**
 * What a rule is about, in its own namespace. `ServiceImport`: the traffic of this cluster's workloads to what it imports under
 * that name. `Service`: a service of this cluster, wherever its consumers call it from.
 */
export interface TargetRef {
  readonly kind: "ServiceImport" | "Service";
  readonly name: string;
}

/** Where requests come from: all that is given must fit. */
export interface Origin {
  readonly workload?: WorkloadPattern;
  readonly namespace?: string;
  readonly cluster?: string;
  readonly trustDomain?: TrustDomain;
  readonly header?: { readonly name: string; readonly value: string };
}

export interface RateLimitSpec {
  readonly targetRefs: readonly TargetRef[];
  /** Only what goes to this version of the service. */
  readonly version?: string;
  /** One of these; absent: everything. */
  readonly from?: readonly Origin[];
  readonly limit: {
    readonly requests: number;
    readonly unit: "Second" | "Minute" | "Hour";
    /** How many may come at once; unless given, so few that no unit of time sees more than 105 % of the limit. */
    readonly burst?: number;
  };
  /** `Shared`, unless given: one limit for all proxies of the calling cluster; `Local`: one for each of them. */
  readonly scope?: "Local" | "Shared";
  readonly mode?: RuleMode;
}

/** Field names follow XBackendTrafficPolicy of the Gateway API and, where that is silent, Envoy Gateway. */
export interface BackendTrafficPolicySpec {
  readonly targetRefs: readonly TargetRef[];
  readonly mode?: RuleMode;
  readonly failover?: FailoverSpec;
  readonly outlierDetection?: OutlierDetectionSpec;
  readonly circuitBreaker?: CircuitBreakerSpec;
  readonly sessionPersistence?: SessionPersistenceSpec;
  readonly retryConstraint?: RetryConstraintSpec;
}

export interface FailoverSpec {
  /** First to last; a cluster that none names comes after them all. Without it, all clusters are equals. */
  readonly priorities?: readonly { readonly clusters: readonly WeightedCluster[] }[];
  /** 140 unless given: a level is full as long as its ready part times this is the whole. */
  readonly overprovisioningPercent?: number;
  /** 50 unless given: below it, and when nothing else carries the load, readiness is disregarded. */
  readonly panicThresholdPercent?: number;
  readonly failback?: {
    /** How long a cluster must have been ready again before the first request returns; 5 s unless given. */
    readonly delay?: string;
    /** Over how long its share then grows to the whole; 10 s unless given. */
    readonly ramp?: string;
  };
}

export interface WeightedCluster {
  readonly cluster: string;
  /** 1 unless given. */
  readonly weight?: number;
}

export interface OutlierDetectionSpec {
  /** Failures in a row (5xx, broken connections) that eject an endpoint; 5 unless given. */
  readonly consecutiveErrors?: number;
  readonly baseEjectionTime?: string;
  readonly maxEjectionTime?: string;
  /** 50 unless given; one always stays. */
  readonly maxEjectionPercent?: number;
}

/** Per proxy process and cluster that serves it; absent: unlimited. */
export interface CircuitBreakerSpec {
  readonly maxConnections?: number;
  /** Beyond it a newcomer is refused, unless one of those that wait has left or may have: see decision 67. */
  readonly maxPendingRequests?: number;
  readonly maxParallelRequests?: number;
}

export interface SessionPersistenceSpec {
  /** Name of the cookie or header. */
  readonly sessionName: string;
  /** `Cookie` unless given. */
  readonly type?: "Cookie" | "Header";
  readonly absoluteTimeout?: string;
  readonly cookieConfig?: { readonly lifetimeType?: "Session" | "Permanent" };
}

/** Gateway API (GEP-3388): at most this part of the requests may be retries, but always so many. */
export interface RetryConstraintSpec {
  readonly budget?: { readonly percent?: number; readonly interval?: string };
  readonly minRetryRate?: { readonly count?: number; readonly interval?: string };
}

export interface RolloutSpec {
  readonly targetRef: TargetRef;
  readonly stable: { readonly version: string };
  readonly canary: { readonly version: string };
  readonly steps: readonly RolloutStep[];
  readonly analysis?: RolloutAnalysis;
  /** `observe`: stays at its first step and counts which requests that would send to the canary. `enforce` unless given. */
  readonly mode?: RuleMode;
}

export interface RolloutStep {
  /** Percent of the requests that go to the canary. */
  readonly setWeight: number;
  /** Absent: on as soon as the analysis has seen enough. Without a duration: until somebody promotes it. */
  readonly pause?: { readonly duration?: string };
}

/** Judged over the requests to the canary since the step began, as the proxies where they enter measured them. */
export interface RolloutAnalysis {
  /** Least percent of answers that are not 5xx and not a loss of the connection. */
  readonly successRate?: number;
  readonly latency?: { readonly percentile: 50 | 90 | 99; readonly max: string };
  /** No verdict before so many requests; 20 unless given. */
  readonly minRequests?: number;
}

/** Where a rollout stands. It is part of the resource, so that a registry that restarts goes on from there. */
export interface RolloutProgress {
  readonly phase: "Observing" | "Progressing" | "Paused" | "Succeeded" | "RolledBack" | "Aborted";
  /** Index of the step in force; the number of steps once it succeeded. */
  readonly step: number;
  /** Percent that the canary gets now. */
  readonly weight: number;
  /** When this step or phase began, RFC 3339. */
  readonly since: string;
  readonly message: string;
}
