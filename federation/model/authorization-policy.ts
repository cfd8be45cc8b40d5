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
  /** One of these; absent: every port. */
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

export interface AuthorizationTarget {
  /** Of the Service. */
  readonly ports: readonly number[];
}
