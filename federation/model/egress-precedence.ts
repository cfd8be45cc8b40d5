import type { ExternalTarget } from "./egress-policy.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

/** What decides between two rules that both fit: the table that README and listings quote. */
export interface RuleRank {
  readonly priority: number;
  /** How narrowly the destination is named. */
  readonly place: number;
  /** How narrowly the caller is named. */
  readonly caller: number;
  readonly policy: string;
  /** Position in its policy. */
  readonly position: number;
}

const EXACT_NAME = 2_000;
const SUFFIX = 1_000;

/** An exact name before a wildcard, a longer wildcard before a shorter one, any name before a range, a longer prefix first. */
export function placeRank({ hostname, cidr }: ExternalTarget): number {
  const prefix = cidr === undefined ? 0 : Number(cidr.split("/")[1] ?? 128);
  if (hostname === undefined) return prefix;
  return hostname.startsWith("*.") ? SUFFIX + hostname.length : EXACT_NAME;
}

/** A workload before a namespace, a namespace before a service account of any namespace, that before everyone. */
export function callerRank(pattern: WorkloadPattern): number {
  if (pattern === "*") return 0;
  const [, namespace, , account] = pattern.split("/");
  return (namespace === "*" ? 0 : 2) + (account === "*" ? 0 : 1);
}

/** Negative where `a` wins. */
export function compareRanks(a: RuleRank, b: RuleRank): number {
  return (
    b.priority - a.priority ||
    b.place - a.place ||
    b.caller - a.caller ||
    (a.policy < b.policy ? -1 : a.policy > b.policy ? 1 : a.position - b.position)
  );
}

/** Why the first of two ranks wins, in a few words. */
export function rankReason(winner: RuleRank, loser: RuleRank): string {
  if (winner.priority !== loser.priority) return `priority ${winner.priority} before ${loser.priority}`;
  if (winner.place !== loser.place) return "it names the destination more narrowly";
  if (winner.caller !== loser.caller) return "it names the caller more narrowly";
  return "its name comes first; give one of them a priority";
}
