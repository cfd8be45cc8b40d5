import type { AuthorizationTarget } from "../../../federation/model/authorization-policy.ts";
import { type ServiceName, serviceKey } from "../../../federation/model/service.ts";
import type { SnapshotAuthorization, SnapshotCaller } from "../../../federation/model/snapshot.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";
import { compileRequests, type JudgedRequest, type RequestMatcher } from "./authorization-request.ts";

/** Whether a connection's requests have to be looked at: because one may be refused, or to count what would be. */
export type RequestWatch = "none" | "observe" | "enforce";

export interface AuthorizationJudgement {
  /** Why not: the policy that denies, or that none allows. */
  readonly denied?: string;
  /** Let in now, but not if the observing policies were enforced. */
  readonly wouldDeny: boolean;
}

/** Of a whole connection. Its `wouldDeny` speaks of what is decided without its requests. */
export interface ConnectionJudgement extends AuthorizationJudgement {
  readonly requests: RequestWatch;
}

/** A policy, as far as it is about one port. */
interface PortPolicy {
  readonly policy: SnapshotAuthorization;
  /** Absent: every request, and bytes that are none. */
  readonly requests: RequestMatcher | undefined;
}

interface PortRules {
  readonly enforced: readonly PortPolicy[];
  /** Those and the observing ones; the same list where there are none. */
  readonly all: readonly PortPolicy[];
}

const NO_RULES: PortRules = { enforced: [], all: [] };
const LET_IN: ConnectionJudgement = { wouldDeny: false, requests: "none" };

/** Who may call this cluster's own services. A port's rules are gathered when it is first called. */
export class AuthorizationTable {
  readonly #byNamespace: ReadonlyMap<string, readonly SnapshotAuthorization[]>;
  /** Asked only for ports of services that exist, so it stays as small as they are. */
  readonly #byPort = new Map<string, PortRules>();

  constructor(policies: readonly SnapshotAuthorization[]) {
    const byNamespace = new Map<string, SnapshotAuthorization[]>();
    for (const policy of policies) {
      const others = byNamespace.get(policy.namespace);
      if (others === undefined) byNamespace.set(policy.namespace, [policy]);
      else others.push(policy);
    }
    this.#byNamespace = byNamespace;
  }

  /** A connection, before anything was read of it. */
  judge(service: ServiceName, port: number, caller: SpiffeId): ConnectionJudgement {
    const { enforced, all } = this.#rulesFor(service, port);
    if (all.length === 0) return LET_IN;
    const verdict = verdictOf(enforced, caller, undefined);
    if (typeof verdict === "string") return { denied: verdict, wouldDeny: false, requests: "none" };
    if (verdict.isOpen) return { wouldDeny: false, requests: "enforce" };
    if (all === enforced) return LET_IN;
    const observed = verdictOf(all, caller, undefined);
    if (typeof observed === "string") return { wouldDeny: true, requests: "none" };
    return observed.isOpen ? { wouldDeny: false, requests: "observe" } : LET_IN;
  }

  /** One request of a connection whose requests are watched; `null` is one that is no HTTP. */
  judgeRequest(
    service: ServiceName,
    port: number,
    caller: SpiffeId,
    request: JudgedRequest | null,
  ): AuthorizationJudgement {
    const { enforced, all } = this.#rulesFor(service, port);
    const verdict = verdictOf(enforced, caller, request);
    if (typeof verdict === "string") return { denied: verdict, wouldDeny: false };
    return { wouldDeny: all !== enforced && typeof verdictOf(all, caller, request) === "string" };
  }

  #rulesFor(service: ServiceName, port: number): PortRules {
    const policies = this.#byNamespace.get(service.namespace);
    if (policies === undefined) return NO_RULES;
    const key = `${serviceKey(service)}:${port}`;
    let rules = this.#byPort.get(key);
    if (rules === undefined) {
      const all = policies
        .filter(
          ({ services, ports }) =>
            (services.length === 0 || services.includes(service.name)) &&
            (ports.length === 0 || ports.includes(port)),
        )
        .flatMap((policy) => forPort(policy, port));
      const enforced = all.filter(({ policy }) => policy.mode === "enforce");
      rules = { enforced: enforced.length === all.length ? all : enforced, all };
      this.#byPort.set(key, rules);
    }
    return rules;
  }
}

/** Nothing where none of its targets is about the port. */
function forPort(policy: SnapshotAuthorization, port: number): readonly PortPolicy[] {
  if (policy.to === undefined) return [{ policy, requests: undefined }];
  const targets = policy.to.filter(({ ports }) => ports === undefined || ports.includes(port));
  if (targets.length === 0) return [];
  const isEvery = ({ methods, paths }: AuthorizationTarget): boolean =>
    methods === undefined && paths === undefined;
  return [{ policy, requests: targets.some(isEvery) ? undefined : compileRequests(targets) }];
}

/** The reason for a refusal, or whether it stays open because requests decide it. */
type PoliciesVerdict = string | { readonly isOpen: boolean };
const OPEN: PoliciesVerdict = { isOpen: true };
const DECIDED: PoliciesVerdict = { isOpen: false };

/** Deny first; then, where anything is allowed by name, only that. `undefined`: nothing of the request is known yet. */
function verdictOf(
  policies: readonly PortPolicy[],
  caller: SpiffeId,
  request: JudgedRequest | null | undefined,
): PoliciesVerdict {
  const isHttp = request !== undefined && request !== null;
  let allows = 0;
  let isAllowed = false;
  let mayBeAllowed = false;
  let mayBeDenied = false;
  for (const { policy, requests } of policies) {
    if (policy.action === "allow") allows += 1;
    if (!fitsCaller(policy.from, caller)) continue;
    const isKnown = requests === undefined || request !== undefined;
    if (policy.action === "deny") {
      if (!isKnown) mayBeDenied = true;
      else if (requests === undefined || !isHttp || requests.mayFit(request))
        return `AuthorizationPolicy ${policy.name} denies ${what(caller, request)}`;
    } else if (!isKnown) mayBeAllowed = true;
    else isAllowed ||= requests === undefined || (isHttp && requests.fits(request));
  }
  if (allows > 0 && !isAllowed && !mayBeAllowed)
    return `none of ${allows} AuthorizationPolicies allows ${what(caller, request)}`;
  return mayBeDenied || (allows > 0 && !isAllowed) ? OPEN : DECIDED;
}

const MAX_TOLD = 200;

function what({ uri }: SpiffeId, request: JudgedRequest | null | undefined): string {
  if (request === undefined) return uri;
  if (request === null) return `${uri} what is no HTTP`;
  return `${uri} ${request.method} ${request.path}`.slice(0, uri.length + MAX_TOLD);
}

function fitsCaller(from: readonly SnapshotCaller[] | undefined, caller: SpiffeId): boolean {
  if (from === undefined) return true;
  for (const { trustDomain, workload } of from) {
    if ((trustDomain === undefined || trustDomain === caller.trustDomain) && matchWorkload(workload, caller))
      return true;
  }
  return false;
}
