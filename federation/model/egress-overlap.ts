import {
  type EgressPolicySpec,
  externalTargets,
  type ExternalTarget,
  portsOf,
  protocolOf,
  sourcePattern,
  targetText,
} from "./egress-policy.ts";
import { callerRank, compareRanks, placeRank, rankReason, type RuleRank } from "./egress-precedence.ts";
import { matchHostname } from "./external-host.ts";
import { cidrWithin, parseCidr } from "./ip-address.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

export interface NamedPolicy {
  readonly name: string;
  readonly spec: EgressPolicySpec;
}

/** Two policies of one mode that both fit some caller and some external destination. */
export interface EgressOverlap {
  readonly winner: string;
  readonly loser: string;
  /** Where both fit, by the narrower of the two destinations: `api.example.com:443`. */
  readonly destination: string;
  readonly reason: string;
  /** Which settings differ, so that it matters who wins; none: they say the same. */
  readonly differing: readonly string[];
}

interface Rule {
  readonly policy: NamedPolicy;
  readonly target: ExternalTarget;
  readonly pattern: WorkloadPattern;
  readonly rank: RuleRank;
}

// Enough to understand what is wrong; five thousand policies for one host must not cost their square.
const MAX_PER_POLICY = 8;
const MAX_COMPARED = 256;

/** By policy name: the overlaps that it is part of. Destinations are indexed, so that a new policy costs what it names. */
export function findOverlaps(
  policies: readonly NamedPolicy[],
): ReadonlyMap<string, readonly EgressOverlap[]> {
  const index = new Map<string, Rule[]>();
  const found = new Map<string, Map<string, EgressOverlap>>();
  for (const policy of policies) {
    for (const rule of rulesOf(policy)) {
      let compared = 0;
      for (const key of wideningKeys(rule.target)) {
        for (const other of index.get(key) ?? []) {
          if (other.policy !== policy && compared++ < MAX_COMPARED) note(found, rule, other);
        }
      }
    }
    for (const rule of rulesOf(policy)) {
      for (const key of wideningKeys(rule.target).slice(0, 1)) push(index, key, rule);
      // A wider rule that comes later must find the narrower ones that were here before it.
      for (const key of wideningKeys(rule.target).slice(1)) push(index, `below ${key}`, rule);
    }
  }
  return new Map([...found].map(([name, overlaps]) => [name, [...overlaps.values()]]));
}

function push(index: Map<string, Rule[]>, key: string, rule: Rule): void {
  const rules = index.get(key);
  if (rules === undefined) index.set(key, [rule]);
  else if (rules.length < MAX_COMPARED) rules.push(rule);
}

function* rulesOf(policy: NamedPolicy): Iterable<Rule> {
  const { from, priority = 0 } = policy.spec;
  for (const [position, target] of externalTargets(policy.spec).entries()) {
    for (const source of from) {
      const pattern = sourcePattern(source);
      const rank = {
        priority,
        place: placeRank(target),
        caller: callerRank(pattern),
        policy: policy.name,
        position,
      };
      yield { policy, target, pattern, rank };
    }
  }
}

/** The destination's own key, those of everything wider, and the one under which narrower ones are kept for it. */
function wideningKeys({ hostname, cidr }: ExternalTarget): readonly string[] {
  if (hostname === undefined) {
    const parsed = parseCidr(cidr ?? "");
    const family = parsed.ok ? parsed.value.base.family : 0;
    return [`cidr ${family}`, `below cidr ${family}`];
  }
  const labels = hostname.split(".");
  const keys = [hostname];
  for (let at = 1; at < labels.length; at++) {
    const wider = `*.${labels.slice(at).join(".")}`;
    if (wider !== hostname) keys.push(wider);
  }
  return [...keys, `below ${hostname}`];
}

function note(found: Map<string, Map<string, EgressOverlap>>, a: Rule, b: Rule): void {
  if (a.policy.spec.mode !== b.policy.spec.mode || !intersect(a, b)) return;
  const [winner, loser] = compareRanks(a.rank, b.rank) < 0 ? [a, b] : [b, a];
  const narrower = a.rank.place >= b.rank.place ? a : b;
  const overlap: EgressOverlap = {
    winner: winner.policy.name,
    loser: loser.policy.name,
    destination: targetText(narrower.target),
    reason: rankReason(winner.rank, loser.rank),
    differing: differing(winner, loser),
  };
  for (const { policy } of [a, b]) {
    const own = found.get(policy.name) ?? new Map<string, EgressOverlap>();
    found.set(policy.name, own);
    const key = `${overlap.winner} ${overlap.loser} ${overlap.destination}`;
    if (own.size < MAX_PER_POLICY && !own.has(key)) own.set(key, overlap);
  }
}

function intersect(a: Rule, b: Rule): boolean {
  const ports = new Set(portsOf(b.target));
  return (
    portsOf(a.target).some((port) => ports.has(port)) &&
    patternsMeet(a.pattern, b.pattern) &&
    placesMeet(a.target, b.target)
  );
}

/** Whether some workload fits both patterns. */
export function patternsMeet(a: WorkloadPattern, b: WorkloadPattern): boolean {
  if (a === "*" || b === "*") return true;
  const [, aNamespace, , aAccount] = a.split("/");
  const [, bNamespace, , bAccount] = b.split("/");
  const meet = (one?: string, other?: string) => one === other || one === "*" || other === "*";
  return meet(aNamespace, bNamespace) && meet(aAccount, bAccount);
}

function placesMeet(a: ExternalTarget, b: ExternalTarget): boolean {
  if (a.hostname !== undefined && b.hostname !== undefined)
    return a.hostname === b.hostname || covers(a.hostname, b.hostname) || covers(b.hostname, a.hostname);
  if (a.hostname !== undefined || b.hostname !== undefined) return false;
  const [one, other] = [parseCidr(a.cidr ?? ""), parseCidr(b.cidr ?? "")];
  return one.ok && other.ok && (cidrWithin(one.value, other.value) || cidrWithin(other.value, one.value));
}

function covers(wide: string, narrow: string): boolean {
  return wide.startsWith("*.") && matchHostname(wide, narrow.startsWith("*.") ? narrow.slice(2) : narrow)
    ? true
    : wide.startsWith("*.") && narrow.startsWith("*.") && narrow.endsWith(wide.slice(1));
}

function differing(a: Rule, b: Rule): readonly string[] {
  const settings = ({ policy: { spec }, target }: Rule) => ({
    tls: spec.tls,
    rateLimit: spec.rateLimit,
    timeouts: spec.timeouts,
    protocol: protocolOf(target, spec.tls),
  });
  const [one, other] = [settings(a), settings(b)];
  return (["tls", "rateLimit", "timeouts", "protocol"] as const).filter(
    (name) => JSON.stringify(one[name]) !== JSON.stringify(other[name]),
  );
}
