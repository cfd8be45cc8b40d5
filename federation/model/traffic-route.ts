import type { Duration } from "./duration.ts";
import type { ServiceName } from "./service.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

/**
 * How requests to a service are routed where they enter the mesh. Names and meaning are those of the Gateway API's HTTPRoute
 * and GRPCRoute for meshes (GAMMA, GEP-1294); what it does not have (`mode`, `version`, `cluster`, `fault`, and in `retry`
 * `on`, `methods`, `grpcCodes`, `budget`) is ours.
 */
export interface TrafficRouteSpec {
  /** `observe`: verdicts are counted and logged, traffic is untouched. `enforce` unless given. */
  readonly mode?: RouteMode;
  readonly parentRefs: readonly ParentRef[];
  /** Taken for the sake of files written for gateways; in a mesh it has no meaning (GAMMA). */
  readonly hostnames?: readonly string[];
  readonly rules: readonly RouteRule[];
}

export type RouteMode = "observe" | "enforce";

/**
 * The service whose requests are routed, by its local name. In the route's own namespace the route holds for every caller
 * (a producer route), in another one for callers of the route's namespace only (a consumer route).
 */
export interface ParentRef {
  readonly group?: string;
  readonly kind?: "Service" | "ServiceImport";
  readonly namespace?: string;
  readonly name: string;
  readonly sectionName?: string;
  /** All ports unless given. */
  readonly port?: number;
}

export interface RouteRule {
  readonly name?: string;
  /** One that fits is enough; every request unless given. */
  readonly matches?: readonly RouteMatch[];
  readonly filters?: readonly RouteFilter[];
  /** The service itself unless given. */
  readonly backendRefs?: readonly BackendRef[];
  readonly timeouts?: RouteTimeouts;
  readonly retry?: RouteRetry;
  readonly fault?: RouteFault;
}

/** All parts must fit. */
export interface RouteMatch {
  readonly path?: { readonly type?: PathMatchType; readonly value?: string };
  readonly headers?: readonly NamedMatch[];
  readonly queryParams?: readonly NamedMatch[];
  /** An HTTP method, or a gRPC service and method. */
  readonly method?: string | GrpcMethodMatch;
}

export type PathMatchType = "Exact" | "PathPrefix" | "RegularExpression";
export type ValueMatchType = "Exact" | "RegularExpression";

/** At least one of `service` and `method` is given. */
export interface GrpcMethodMatch {
  readonly type?: ValueMatchType;
  readonly service?: string;
  readonly method?: string;
}

/** Values of headers are compared as UTF-8, those of query parameters as decoded. */
export interface NamedMatch {
  readonly type?: ValueMatchType;
  readonly name: string;
  readonly value: string;
}

export type RouteFilter =
  | { readonly type: "RequestHeaderModifier"; readonly requestHeaderModifier: HeaderModifier }
  | { readonly type: "ResponseHeaderModifier"; readonly responseHeaderModifier: HeaderModifier }
  | { readonly type: "URLRewrite"; readonly urlRewrite: UrlRewrite }
  | { readonly type: "RequestRedirect"; readonly requestRedirect: RequestRedirect }
  | { readonly type: "RequestMirror"; readonly requestMirror: RequestMirror };

export interface HeaderModifier {
  readonly set?: readonly HeaderValue[];
  readonly add?: readonly HeaderValue[];
  readonly remove?: readonly string[];
}

export interface HeaderValue {
  readonly name: string;
  readonly value: string;
}

export type PathModifier =
  | { readonly type: "ReplaceFullPath"; readonly replaceFullPath: string }
  | { readonly type: "ReplacePrefixMatch"; readonly replacePrefixMatch: string };

export interface UrlRewrite {
  readonly hostname?: string;
  readonly path?: PathModifier;
}

export interface RequestRedirect {
  readonly scheme?: "http" | "https";
  readonly hostname?: string;
  readonly path?: PathModifier;
  readonly port?: number;
  /** 302 unless given. */
  readonly statusCode?: 301 | 302 | 303 | 307 | 308;
}

/** All requests unless one of them is given. */
export interface Share {
  readonly percent?: number;
  /** `denominator` is 100 unless given. */
  readonly fraction?: { readonly numerator: number; readonly denominator?: number };
}

export interface RequestMirror extends Share {
  readonly backendRef: BackendTarget;
}

/** A service by its local name; of one cluster or one version of it where these are given. */
export interface BackendTarget {
  readonly group?: string;
  readonly kind?: "Service" | "ServiceImport";
  readonly namespace?: string;
  readonly name: string;
  readonly port?: number;
  readonly cluster?: string;
  readonly version?: string;
}

export interface BackendRef extends BackendTarget {
  /** 1 unless given. */
  readonly weight?: number;
  readonly filters?: readonly BackendFilter[];
}

export type BackendFilter = Exclude<RouteFilter, { readonly type: "RequestRedirect" | "RequestMirror" }>;

/** `0s` switches a timeout off. */
export interface RouteTimeouts {
  /** From the request's head until its response is complete, retries included. */
  readonly request?: Duration;
  /** Of each try. */
  readonly backendRequest?: Duration;
}

/** What may go wrong with one try. The first two are certain to have left the workload untouched. */
export type FailureClass = "connect-failure" | "refused-stream" | "reset" | "timeout";

export interface RouteRetry {
  /** How many retries; 1 unless given. */
  readonly attempts?: number;
  /** Response statuses that are failures. */
  readonly codes?: readonly number[];
  /** gRPC statuses that are failures, by name: `unavailable`. */
  readonly grpcCodes?: readonly GrpcCode[];
  /** `connect-failure`, `refused-stream` and `reset` unless given. */
  readonly on?: readonly FailureClass[];
  /** Methods that may be repeated although they are not idempotent. */
  readonly methods?: readonly string[];
  /** The first pause, doubled for each retry that follows, with jitter; 25 ms unless given. */
  readonly backoff?: Duration;
  readonly budget?: RetryBudget;
}

/** Names and defaults of XBackendTrafficPolicy's `retryConstraint`. */
export interface RetryBudget {
  /** Retries per hundred requests of the interval; 20 unless given. */
  readonly percent?: number;
  /** 10 s unless given. */
  readonly interval?: Duration;
  /** Retries that are allowed however few requests there are; 10 per second unless given. */
  readonly minRetryRate?: { readonly count?: number; readonly interval?: Duration };
}

export interface RouteFault {
  /** Only these callers; all unless given. */
  readonly from?: readonly { readonly workload: WorkloadPattern }[];
  readonly delay?: Share & { readonly fixedDelay: Duration };
  readonly abort?: Share & { readonly statusCode?: number; readonly grpcCode?: GrpcCode };
}

/** https://grpc.io/docs/guides/status-codes/, as the position in this list says the number. */
export const GRPC_CODES = [
  "ok",
  "cancelled",
  "unknown",
  "invalid-argument",
  "deadline-exceeded",
  "not-found",
  "already-exists",
  "permission-denied",
  "resource-exhausted",
  "failed-precondition",
  "aborted",
  "out-of-range",
  "unimplemented",
  "internal",
  "unavailable",
  "data-loss",
  "unauthenticated",
] as const;
export type GrpcCode = (typeof GRPC_CODES)[number];

/** A route as a snapshot carries it: every name is a local one of the cluster that the snapshot is for. */
export interface SnapshotRoute {
  /** Where it was written: this cluster, or the one that owns the service. */
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339: of two rules that fit equally well the older one's route wins. */
  readonly firstSeen: string;
  readonly mode: RouteMode;
  readonly parents: readonly SnapshotParent[];
  readonly rules: readonly SnapshotRouteRule[];
}

export interface SnapshotParent extends ServiceName {
  readonly port?: number;
  /** Callers of this namespace only. */
  readonly consumer?: string;
}

export interface SnapshotRouteRule extends Omit<RouteRule, "backendRefs" | "filters"> {
  readonly filters?: readonly SnapshotRouteFilter[];
  readonly backendRefs?: readonly SnapshotRouteBackend[];
}

export type SnapshotRouteFilter =
  | Exclude<RouteFilter, { readonly type: "RequestMirror" }>
  | {
      readonly type: "RequestMirror";
      readonly requestMirror: Share & { readonly backendRef: SnapshotRouteTarget };
    };

export interface SnapshotRouteTarget extends ServiceName {
  readonly port?: number;
  readonly cluster?: string;
  readonly version?: string;
}

export interface SnapshotRouteBackend extends SnapshotRouteTarget {
  readonly weight?: number;
  readonly filters?: readonly BackendFilter[];
}

/**
 * Fields that no rule may touch, in lower case: those of one hop, those that frame the message, and those that say who calls.
 * `Host` is rewritten by URLRewrite alone.
 */
export const PROTECTED_FIELDS: readonly string[] = [
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "upgrade",
  "te",
  "trailer",
  "expect",
  "via",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-authentication-info",
  "http2-settings",
  "x-forwarded-client-cert",
  "client-cert",
  "client-cert-chain",
  "l5d-client-id",
];

/** `name` in any spelling; servers that fold `_` to `-` must not be fooled either. */
export function isProtectedField(name: string): boolean {
  const folded = name.toLowerCase().replaceAll("_", "-");
  return folded.startsWith("isthmus-") || PROTECTED_FIELDS.includes(folded);
}
