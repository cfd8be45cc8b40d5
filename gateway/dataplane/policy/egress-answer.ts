import type { EgressAnswer } from "../../../federation/model/egress-answer.ts";
import { formatDestination, parseDestination } from "../../../federation/model/external-host.ts";
import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import { parseServiceAuthority, serviceKey } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import { judgeEgress } from "./egress.ts";
import type { EgressTable } from "./egress-table.ts";
import type { ExternalRule } from "./external-rule.ts";
import { decideExternal, selectRule } from "./external.ts";

export interface EgressQuestion {
  readonly caller: SpiffeId;
  /** `api.example.com:443` (443 unless given), or an imported service's clusterset name. */
  readonly destination: string;
  /** Absent: some request. */
  readonly method?: string;
  readonly path?: string;
}

/** The decision of the data path, in words; names are not resolved here. */
export function answerEgress(table: EgressTable, question: EgressQuestion): EgressAnswer {
  const { caller, destination: text } = question;
  const workload = workloadName(caller);
  const service = parseServiceAuthority(/:[0-9]+$/.test(text) ? text : `${text}:80`);
  if (service !== undefined) {
    const { allowed, wouldDeny } = judgeEgress(table, caller, service);
    const destination = serviceKey(service);
    const detail = allowed
      ? "by the egress policies; the owner's export decides as well"
      : `no enforced EgressPolicy lets ${workload} reach ${destination}`;
    const verdict = allowed ? (wouldDeny ? "observed" : "allowed") : "denied";
    return {
      verdict,
      workload,
      destination,
      detail,
      ...(allowed ? {} : { code: PROBLEMS.egress_denied.code }),
    };
  }
  const parsed = parseDestination(text, 443);
  if (!parsed.ok) return denied(workload, text, { name: "egress_destination_invalid", detail: parsed.error });
  const destination = formatDestination(parsed.value.host, parsed.value.port);
  const reach = decideExternal(table, caller, parsed.value);
  if (reach.kind === "denied") return denied(workload, destination, reach.problem);
  const asksMore = question.method !== undefined || question.path !== undefined;
  const chosen = asksMore
    ? selectRule(reach, question.method ?? "GET", question.path ?? "/")
    : { kind: "rule" as const, rule: reach.rule, wouldDeny: reach.wouldDeny };
  if (chosen.kind === "denied") return denied(workload, destination, chosen.problem);
  return allowed(workload, destination, chosen.rule, chosen.wouldDeny);
}

function allowed(
  workload: string,
  destination: string,
  rule: ExternalRule | undefined,
  wouldDeny: boolean,
): EgressAnswer {
  const detail = wouldDeny
    ? "no policy enforces yet; enforced, the present policies would deny it"
    : rule === undefined
      ? "no policy enforces"
      : `EgressPolicy ${rule.policy} ${rule.mode === "enforce" ? "allows" : "would allow"} it`;
  return {
    verdict: wouldDeny ? "observed" : "allowed",
    workload,
    destination,
    ...(rule === undefined ? {} : { policy: rule.policy }),
    tls: rule?.tls?.mode ?? "none",
    detail,
  };
}

function denied(workload: string, destination: string, { name, detail }: Problem): EgressAnswer {
  return { verdict: "denied", workload, destination, code: PROBLEMS[name].code, detail };
}
