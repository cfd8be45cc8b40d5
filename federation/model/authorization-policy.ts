import type { RuleMode } from "./traffic-policy.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

/**
 * Who may call services of the policy's own namespace. A caller that an enforced `deny` fits is refused; where `allow` policies
 * are enforced for a service, one of them must fit; where there is none, the export alone decides. So an `allow` with an empty
 * `from` is a namespace's default deny.
 */
export interface AuthorizationPolicySpec {
  /** Absent: every service of the namespace. */
  readonly targetRefs?: readonly { readonly kind: "Service"; readonly name: string }[];
  readonly action: "allow" | "deny";
  /** One of these; absent: every caller; empty: none. */
  readonly from?: readonly AuthorizationSource[];
  /** One of these; absent: every request to every port. */
  readonly to?: readonly AuthorizationTarget[];
  /** `enforce`, unless given. */
  readonly mode?: RuleMode;
}

/** All that is given must fit the caller's verified SPIFFE ID. */
export interface AuthorizationSource {
  readonly workload?: WorkloadPattern;
  readonly namespace?: string;
  /** Its trust domain; absent: any cluster that the service is exported to, and the service's own. */
  readonly cluster?: string;
}

/** All that is given must fit; at least one is given. */
export interface AuthorizationTarget {
  /** Of the Service. */
  readonly ports?: readonly number[];
  /** Of HTTP requests, as the hop before the workload reads them. What is no HTTP fits no `allow` with these, and every `deny`. */
  readonly methods?: readonly string[];
  readonly paths?: readonly AuthorizationPath[];
}

/**
 * Of the path without its query; prefixes element by element as in the Gateway API's HTTPRoute, expressions (RE2) as a whole. A
 * path that a server may read in two ways (dot segments, doubled or encoded slashes) fits no `allow` by path, and every `deny`.
 */
export interface AuthorizationPath {
  readonly type: "Exact" | "PathPrefix" | "RegularExpression";
  readonly value: string;
}
