import { type Destination, formatDestination } from "../../../federation/model/external-host.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import { type EgressTable, rulesForAddress, rulesForName } from "./egress-table.ts";
import { type ExternalRule } from "./external-rule.ts";
import { firstOf, permittingRule, type RuleGroup } from "./rule-group.ts";

declare const reachBrand: unique symbol;

/** Proof that a caller may reach a destination, or may be watched reaching it. Only this file makes one. */
export interface ExternalReach {
  readonly [reachBrand]: true;
  readonly kind: "reach";
  readonly caller: SpiffeId;
  readonly destination: Destination;
  /** The winning rule; of HTTP, methods and paths may choose another one. `undefined`: nothing enforces. */
  readonly rule: ExternalRule | undefined;
  readonly groups: readonly RuleGroup[];
  /** No policy allows it, but none enforces yet. */
  readonly wouldDeny: boolean;
}

export interface ExternalDenied {
  readonly kind: "denied";
  readonly problem: Problem;
}

/** The one decision of every way out: may this workload reach that host and port, and by which rules. */
export function decideExternal(
  table: EgressTable,
  caller: SpiffeId,
  destination: Destination,
): ExternalReach | ExternalDenied {
  const groups = groupsOf(table.enforced ? table.enforcing : table.observing, caller, destination);
  if (groups.length === 0 && table.enforced) return denied(caller, destination);
  let rule: ExternalRule | undefined;
  for (const { first } of groups) rule = firstOf(rule, first);
  return {
    kind: "reach",
    caller,
    destination,
    rule,
    groups: groups.filter(({ protocol }) => protocol === rule?.protocol),
    wouldDeny: groups.length === 0,
  } as unknown as ExternalReach;
}

function groupsOf(
  index: EgressTable["enforcing"],
  caller: SpiffeId,
  { host, port }: Destination,
): readonly RuleGroup[] {
  return host.kind === "name"
    ? rulesForName(index, caller, host.name, port)
    : rulesForAddress(index, caller, host.address, port);
}

function denied(caller: SpiffeId, { host, port }: Destination): ExternalDenied {
  return {
    kind: "denied",
    problem: problem(
      "egress_host_denied",
      `no enforced EgressPolicy lets ${workloadName(caller)} reach ${formatDestination(host, port)}`,
    ),
  };
}

export type RequestVerdict =
  | { readonly kind: "rule"; readonly rule: ExternalRule | undefined; readonly wouldDeny: boolean }
  | ExternalDenied;

/** The first rule that permits the request; observing rules predict only. */
export function selectRule(reach: ExternalReach, method: string, target: string): RequestVerdict {
  const { rule: first, groups, caller } = reach;
  const path = pathOf(target);
  const rule = permittingRule(groups, method, path);
  if (rule !== undefined) return { kind: "rule", rule, wouldDeny: reach.wouldDeny };
  if (first === undefined || first.mode === "observe") return { kind: "rule", rule: first, wouldDeny: true };
  const what = `${method} ${path}`.slice(0, 200);
  return {
    kind: "denied",
    problem: problem(
      "egress_request_denied",
      `EgressPolicy ${first.policy} lets ${workloadName(caller)} make other requests than ${what}`,
    ),
  };
}

function pathOf(target: string): string {
  const end = target.search(/[?#]/);
  return end === -1 ? target : target.slice(0, end);
}
