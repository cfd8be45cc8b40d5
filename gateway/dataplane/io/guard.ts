import { DEFAULT_FAILOVER, type Destination, divideTraffic } from "../balance/failover.ts";
import { DEFAULT_FAILBACK } from "../lifecycle/destination-state.ts";
import {
  type BackendRule,
  type LimitRule,
  type Place,
  ruleFor,
  type RuleTables,
  type ServiceRules,
} from "../policy/rule-tables.ts";
import { TokenBucket } from "../policy/token-bucket.ts";
import type { CanaryReport } from "../../../federation/model/resource.ts";
import type { EntryForward } from "../routing/decide.ts";
import { CanaryMeter } from "./canary-meter.ts";
import type { Metrics } from "./counters.ts";
import { DestinationGuard, type Readiness } from "./destination-guard.ts";
import type { EventLog } from "./event-log.ts";

/** Takes one of a limit's tokens; answers 0, or after how many milliseconds it is worth trying again. */
export interface Limiter {
  take(now: number): number;
}

export interface GuardEnvironment {
  /** Milliseconds that pass evenly. */
  readonly now: () => number;
  /** By which sessions are dated, since other processes read them; `now` unless given. */
  readonly wallMs?: () => number;
  readonly metrics: Metrics;
  readonly events: EventLog;
  /** What is known of a service at a cluster; `undefined`: nothing yet. */
  readonly readiness: (target: EntryForward) => Readiness | undefined;
  /** The same of the endpoints that a request for this target may go to: those of its version. */
  readonly choosable: (target: EntryForward) => Readiness | undefined;
  /** A limit that several processes share; absent: every process has its own. */
  readonly sharedLimiter?: (limit: LimitRule) => Limiter;
}

// How long a division of traffic is good for: a ramp's step, and far below what a loss may take to be noticed.
const SHARES_MS = 50;
const LOCAL_FIRST: { readonly local: Place; readonly other: Place } = {
  local: { priority: 0, weight: 1 },
  other: { priority: 1, weight: 1 },
};
/** Clusters that no level names come after all that one names. */
const UNNAMED: Place = { priority: Number.MAX_SAFE_INTEGER, weight: 1 };

/** What part of a service's traffic each of its sources gets now. */
export interface Division {
  readonly parts: readonly number[];
  /** The same by the policy whose failover only observes, where there is one. */
  readonly observed: { readonly rule: string; readonly parts: readonly number[] } | undefined;
}

interface Divided extends Division {
  readonly untilMs: number;
  readonly epoch: number;
  readonly rules: ServiceRules | undefined;
}

/** What the rules of one process remember between requests: buckets, circuits, outliers, who returns. */
export class Guard {
  readonly env: GuardEnvironment;
  readonly #buckets = new Map<string, { readonly bucket: TokenBucket; rate: LimitRule["rate"] }>();
  /** With one of the targets that lead there. */
  readonly #destinations = new Map<
    string,
    { readonly guard: DestinationGuard; readonly target: EntryForward }
  >();
  readonly #divisions = new WeakMap<readonly EntryForward[], Divided>();
  /** What was measured of canaries, by the rollout's name. */
  readonly #canaries = new Map<string, CanaryMeter>();
  #epoch = 0;

  constructor(env: GuardEnvironment) {
    this.env = env;
  }

  get wallMs(): number {
    return (this.env.wallMs ?? this.env.now)();
  }

  /** What is known of readiness has changed: the next request must not go by what was. */
  readinessChanged(): void {
    this.#epoch += 1;
    for (const { guard, target } of this.#destinations.values()) guard.heard(this.env.readiness(target));
  }

  limiter(limit: LimitRule): Limiter {
    if (limit.shared && this.env.sharedLimiter !== undefined) return this.env.sharedLimiter(limit);
    const known = this.#buckets.get(limit.key);
    if (known === undefined) {
      const bucket = new TokenBucket(limit.rate, this.env.now());
      this.#buckets.set(limit.key, { bucket, rate: limit.rate });
      return bucket;
    }
    if (known.rate.perMs !== limit.rate.perMs || known.rate.burst !== limit.rate.burst) {
      known.bucket.setRate(limit.rate, this.env.now());
      known.rate = limit.rate;
    }
    return known.bucket;
  }

  destination(service: string, target: EntryForward): DestinationGuard {
    const key = `${service}:${target.port} ${target.destination}`;
    const known = this.#destinations.get(key);
    if (known !== undefined) return known.guard;
    const guard = new DestinationGuard(target.destination);
    guard.heard(this.env.readiness(target));
    this.#destinations.set(key, { guard, target });
    return guard;
  }

  division(service: string, rules: ServiceRules | undefined, sources: readonly EntryForward[]): Division {
    const now = this.env.now();
    const known = this.#divisions.get(sources);
    if (known !== undefined && now < known.untilMs && known.epoch === this.#epoch && known.rules === rules)
      return known;
    const parts = this.#divide(service, rules, sources, policyInForce(rules, sources), now);
    // Behind what is in force of the owners for single destinations.
    const policy = rules?.backends.find(({ observe, rule }) => observe && rule.failover !== undefined);
    const observed = policy && {
      rule: policy.name,
      parts: this.#divide(service, rules, sources, policy, now),
    };
    const divided = { parts, observed, untilMs: now + SHARES_MS, epoch: this.#epoch, rules };
    this.#divisions.set(sources, divided);
    return divided;
  }

  /** The same among fewer of them, as if the others were not there. */
  sharesAmong(
    service: string,
    rules: ServiceRules | undefined,
    sources: readonly EntryForward[],
  ): readonly number[] {
    return this.#divide(service, rules, sources, policyInForce(rules, sources), this.env.now());
  }

  canary(rollout: string): CanaryMeter {
    const known = this.#canaries.get(rollout) ?? new CanaryMeter();
    this.#canaries.set(rollout, known);
    return known;
  }

  /** Of the rollouts that some service has now. */
  canaries(tables: RuleTables | undefined): readonly CanaryReport[] {
    const names = new Set(
      [...(tables?.values() ?? [])].flatMap(({ rollouts }) => rollouts.map(({ name }) => name)),
    );
    for (const name of this.#canaries.keys()) if (!names.has(name)) this.#canaries.delete(name);
    return [...this.#canaries].map(([name, meter]) => ({ name, ...meter.stats() }));
  }

  count(rule: string, verdict: string, observe: boolean): void {
    const mode = observe ? "observe" : "enforce";
    this.env.metrics.ruleVerdicts.series({ rule, verdict, mode }).value += 1;
  }

  /** Each verdict has its own allowance of lines, since some fit every request. */
  observed(service: string, rule: string, verdict: string, detail: string): void {
    this.count(rule, verdict, true);
    this.env.events.access("rule_observed", { rule, verdict, service, detail }, `rule_observed ${verdict}`);
  }

  /** As `policy` wants it, whether or not it is in force. */
  #divide(
    service: string,
    rules: ServiceRules | undefined,
    sources: readonly EntryForward[],
    policy: BackendRule | undefined,
    now: number,
  ): readonly number[] {
    const failover = policy?.rule.failover;
    const failback =
      failover === undefined
        ? DEFAULT_FAILBACK
        : { delayMs: failover.failbackDelayMs, rampMs: failover.failbackRampMs };
    const isObserved = policy?.observe === true;
    const destinations = sources.map((source): Destination => {
      const guard = this.destination(service, source);
      guard.rule = ruleFor(rules?.backends ?? [], source.destination);
      const place = placeOf(source, failover === undefined ? undefined : policy);
      return { ...place, ...guard.weigh(this.env.readiness(source), now, failback, isObserved) };
    });
    return divideTraffic(destinations, failover ?? DEFAULT_FAILOVER);
  }
}

/** Levels are the consumer's: its policy is about every destination. */
function policyInForce(
  rules: ServiceRules | undefined,
  [first]: readonly EntryForward[],
): BackendRule | undefined {
  const policy = first === undefined ? undefined : ruleFor(rules?.backends ?? [], first.destination);
  return policy?.observe === true ? undefined : policy;
}

function placeOf(source: EntryForward, policy: BackendRule | undefined): Place {
  if (policy === undefined || policy.places.size === 0)
    return source.local ? LOCAL_FIRST.local : LOCAL_FIRST.other;
  return policy.places.get(source.destination) ?? UNNAMED;
}
