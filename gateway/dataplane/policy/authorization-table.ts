import { type ServiceName, serviceKey } from "../../../federation/model/service.ts";
import type { SnapshotAuthorization, SnapshotCaller } from "../../../federation/model/snapshot.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";

export interface AuthorizationJudgement {
  /** Why not: the policy that denies, or that none allows. */
  readonly denied?: string;
  /** Let in now, but not if the observing policies were enforced. */
  readonly wouldDeny: boolean;
}

interface PortRules {
  readonly enforced: readonly SnapshotAuthorization[];
  /** Those and the observing ones; the same list where there are none. */
  readonly all: readonly SnapshotAuthorization[];
}

const NO_RULES: PortRules = { enforced: [], all: [] };
const LET_IN: AuthorizationJudgement = { wouldDeny: false };

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

  judge(service: ServiceName, port: number, caller: SpiffeId): AuthorizationJudgement {
    const { enforced, all } = this.#rulesFor(service, port);
    if (all.length === 0) return LET_IN;
    const denied = refusalOf(enforced, caller);
    if (denied !== undefined) return { denied, wouldDeny: false };
    return all === enforced || refusalOf(all, caller) === undefined ? LET_IN : { wouldDeny: true };
  }

  #rulesFor(service: ServiceName, port: number): PortRules {
    const policies = this.#byNamespace.get(service.namespace);
    if (policies === undefined) return NO_RULES;
    const key = `${serviceKey(service)}:${port}`;
    let rules = this.#byPort.get(key);
    if (rules === undefined) {
      const all = policies.filter(
        ({ services, ports }) =>
          (services.length === 0 || services.includes(service.name)) &&
          (ports.length === 0 || ports.includes(port)),
      );
      const enforced = all.filter(({ mode }) => mode === "enforce");
      rules = { enforced: enforced.length === all.length ? all : enforced, all };
      this.#byPort.set(key, rules);
    }
    return rules;
  }
}

/** Deny first; then, where anything is allowed by name, only that. */
function refusalOf(policies: readonly SnapshotAuthorization[], caller: SpiffeId): string | undefined {
  let allows = 0;
  let isAllowed = false;
  for (const policy of policies) {
    const fits = fitsCaller(policy.from, caller);
    if (policy.action === "deny") {
      if (fits) return `AuthorizationPolicy ${policy.name} denies ${caller.uri}`;
      continue;
    }
    allows += 1;
    isAllowed ||= fits;
  }
  return allows === 0 || isAllowed
    ? undefined
    : `none of ${allows} AuthorizationPolicies allows ${caller.uri}`;
}

function fitsCaller(from: readonly SnapshotCaller[] | undefined, caller: SpiffeId): boolean {
  if (from === undefined) return true;
  for (const { trustDomain, workload } of from) {
    if ((trustDomain === undefined || trustDomain === caller.trustDomain) && matchWorkload(workload, caller))
      return true;
  }
  return false;
}
