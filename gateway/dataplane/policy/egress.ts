import type { ServiceName } from "../../../federation/model/service.ts";
import type { SnapshotEgress, SnapshotEgressPolicy } from "../../../federation/model/snapshot.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";

export interface EgressJudgement {
  readonly allowed: boolean;
  /** True when the request passes now but would not if the observing policies were enforced. */
  readonly wouldDeny: boolean;
}

/** Default deny as soon as one policy enforces; observing policies only predict. */
export function judgeEgress(egress: SnapshotEgress, caller: SpiffeId, service: ServiceName): EgressJudgement {
  let enforced = false;
  let observed = false;
  let allowedByEnforced = false;
  let allowedByObserved = false;
  for (const policy of egress.policies) {
    const fits = policyAllows(policy, caller, service);
    if (policy.mode === "enforce") {
      enforced = true;
      allowedByEnforced ||= fits;
    } else {
      observed = true;
      allowedByObserved ||= fits;
    }
  }
  const allowed = !enforced || allowedByEnforced;
  return { allowed, wouldDeny: allowed && observed && !allowedByEnforced && !allowedByObserved };
}

function policyAllows(policy: SnapshotEgressPolicy, caller: SpiffeId, service: ServiceName): boolean {
  return (
    policy.to.some((to) => to.name === service.name && to.namespace === service.namespace) &&
    policy.from.some((pattern) => matchWorkload(pattern, caller))
  );
}
