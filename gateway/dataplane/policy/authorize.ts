import { type Problem, problem } from "../../../federation/model/problem.ts";
import { type ServiceName, serviceKey } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { matchWorkload, workloadName } from "../../../federation/model/workload-pattern.ts";
import type { ExportRoute, ImportSource } from "../routing/tables.ts";
import type { JudgedRequest } from "./authorization-request.ts";
import type { AuthorizationTable, RequestWatch } from "./authorization-table.ts";
import { judgeEgress } from "./egress.ts";
import type { EgressTable } from "./egress-table.ts";

declare const permitBrand: unique symbol;

/** Proof that authorization ran and allowed. Only this file can make one, and nothing is forwarded without one. */
export interface Permit {
  readonly [permitBrand]: true;
  readonly caller: SpiffeId;
  /** An observing egress policy would have denied this, were it enforced. */
  readonly wouldDeny: boolean;
  /** The same of an observing AuthorizationPolicy, where the call arrives. */
  readonly arrivalWouldDeny: boolean;
  /** Whether the AuthorizationPolicies still have a say in each request. */
  readonly requests: RequestWatch;
}

export type Verdict =
  | { readonly kind: "allowed"; readonly permit: Permit }
  | { readonly kind: "denied"; readonly problem: Problem };

/** Caller's side: the owner permits this caller, and the caller's own cluster lets it leave. */
export function authorizeImport(source: ImportSource, egress: EgressTable, caller: SpiffeId): Verdict {
  const { rule } = source;
  if (!rule.workloads.some((pattern) => matchWorkload(pattern, caller))) {
    return denied(
      "export_denied",
      `cluster ${rule.from.cluster} exports ${serviceKey(rule.from)} to other workloads than ${workloadName(caller)}`,
    );
  }
  const judgement = judgeEgress(egress, caller, rule);
  if (!judgement.allowed) {
    return denied(
      "egress_denied",
      `no enforced EgressPolicy lets ${workloadName(caller)} reach ${serviceKey(rule)}`,
    );
  }
  return allowed(caller, judgement.wouldDeny);
}

/** Owner's side: the export names the caller's cluster and one of its patterns fits the caller. */
export function authorizeExport(route: ExportRoute, caller: SpiffeId): Verdict {
  const { rule } = route;
  const consumers = rule.consumers.filter(({ trustDomain }) => trustDomain === caller.trustDomain);
  if (consumers.length === 0) {
    return denied("not_exported", `${serviceKey(rule)} is not exported to ${caller.trustDomain}`);
  }
  if (!consumers.some(({ workloads }) => workloads.some((pattern) => matchWorkload(pattern, caller)))) {
    return denied("export_denied", `the export of ${serviceKey(rule)} does not name ${caller.uri}`);
  }
  return allowed(caller, false);
}

/** The owner's cluster, where a call arrives: its AuthorizationPolicies have the last word over what was permitted before. */
export function authorizeArrival(
  permit: Permit,
  table: AuthorizationTable,
  service: ServiceName,
  port: number,
): Verdict {
  const { denied: reason, wouldDeny, requests } = table.judge(service, port, permit.caller);
  if (reason !== undefined) return denied("authorization_denied", reason);
  return wouldDeny || requests !== "none"
    ? allowed(permit.caller, permit.wouldDeny, wouldDeny, requests)
    : { kind: "allowed", permit };
}

/** One request of a connection that was let in, where policies look at each; `null`: it is no HTTP. */
export function authorizeRequest(
  table: AuthorizationTable,
  service: ServiceName,
  port: number,
  caller: SpiffeId,
  request: JudgedRequest | null,
): Problem | { readonly wouldDeny: boolean } {
  const { denied: reason, wouldDeny } = table.judgeRequest(service, port, caller, request);
  return reason === undefined ? { wouldDeny } : problem("authorization_denied", reason);
}

/** Inside one cluster everybody may call who no policy keeps out. */
export function authorizeMesh(
  caller: SpiffeId,
  table: AuthorizationTable,
  service: ServiceName,
  port: number,
): Verdict {
  const known = { caller, wouldDeny: false, arrivalWouldDeny: false, requests: "none" } as Permit;
  return authorizeArrival(known, table, service, port);
}

function allowed(
  caller: SpiffeId,
  wouldDeny: boolean,
  arrivalWouldDeny = false,
  requests: RequestWatch = "none",
): Verdict {
  return { kind: "allowed", permit: { caller, wouldDeny, arrivalWouldDeny, requests } as Permit };
}

function denied(name: Problem["name"], detail: string): Verdict {
  return { kind: "denied", problem: problem(name, detail) };
}
