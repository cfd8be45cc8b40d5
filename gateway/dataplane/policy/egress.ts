import { type ServiceName, serviceKey } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { allowsService, type EgressTable } from "./egress-table.ts";

export interface EgressJudgement {
  readonly allowed: boolean;
  /** True when the request passes now but would not if the observing policies were enforced. */
  readonly wouldDeny: boolean;
}

/** Default deny as soon as one policy enforces; observing policies only predict. */
export function judgeEgress(table: EgressTable, caller: SpiffeId, service: ServiceName): EgressJudgement {
  const key = serviceKey(service);
  const byEnforced = allowsService(table.enforcing, caller, key);
  const allowed = !table.enforced || byEnforced;
  const predicted = allowed && table.observed && !byEnforced;
  return { allowed, wouldDeny: predicted && !allowsService(table.observing, caller, key) };
}
