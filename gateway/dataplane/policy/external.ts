import { type Destination, formatDestination } from "../../../federation/model/external-host.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import { type EgressTable, type ExternalRule, rulesForAddress, rulesForName } from "./egress-table.ts";

declare const reachBrand: unique symbol;

/** Proof that a caller may reach a destination, or may be watched reaching it. Only this file makes one. */
export interface ExternalReach {
  readonly [reachBrand]: true;
  readonly kind: "reach";
  readonly caller: SpiffeId;
  readonly destination: Destination;
  /** The winning one first; more than one matters for HTTP, where methods and paths choose. Empty: nothing enforces. */
  readonly rules: readonly ExternalRule[];
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
  const rules = rulesOf(table.enforced ? table.enforcing : table.observing, caller, destination);
  if (rules.length === 0 && table.enforced) return denied(caller, destination);
  const [first] = rules;
  const usable = first === undefined ? rules : rules.filter(({ protocol }) => protocol === first.protocol);
  return {
    kind: "reach",
    caller,
    destination,
    rules: usable,
    wouldDeny: rules.length === 0,
  } as unknown as ExternalReach;
}

function rulesOf(
  index: EgressTable["enforcing"],
  caller: SpiffeId,
  { host, port }: Destination,
): readonly ExternalRule[] {
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
  const { rules, caller } = reach;
  for (const rule of rules) {
    if (permits(rule, method, target)) return { kind: "rule", rule, wouldDeny: reach.wouldDeny };
  }
  const [first] = rules;
  if (first === undefined || first.mode === "observe") return { kind: "rule", rule: first, wouldDeny: true };
  const what = `${method} ${pathOf(target)}`.slice(0, 200);
  return {
    kind: "denied",
    problem: problem(
      "egress_request_denied",
      `EgressPolicy ${first.policy} lets ${workloadName(caller)} make other requests than ${what}`,
    ),
  };
}

function permits({ http }: ExternalRule, method: string, target: string): boolean {
  if (http === undefined) return true;
  if (http.methods !== undefined && !http.methods.includes(method)) return false;
  if (http.paths === undefined) return true;
  const path = pathOf(target);
  if (hasTwoReadings(path)) return false;
  return http.paths.some(({ type, value }) =>
    type === "Exact"
      ? path === value
      : path === value || path.startsWith(value.endsWith("/") ? value : `${value}/`),
  );
}

function pathOf(target: string): string {
  const end = target.search(/[?#]/);
  return end === -1 ? target : target.slice(0, end);
}

/** Whether the far server may take the path for another one: dot segments, doubled or encoded slashes and dots. */
function hasTwoReadings(path: string): boolean {
  return /\/\/|\\|;|\/\.{1,2}(?:\/|$)|%2e|%2f|%5c|%00|%25/i.test(path);
}
