import { type Problem, problem } from "../../../federation/model/problem.ts";
import { serviceKey } from "../../../federation/model/service.ts";
import { type FailedTries, nextTry } from "../balance/failed-tries.ts";
import { pickShare } from "../balance/failover.ts";
import { hashText } from "../balance/rendezvous.ts";
import { decodeSession, encodeSession, isExpired, opaqueName } from "../balance/session-token.ts";
import {
  type BackendRule,
  limitApplies,
  type RequestFields,
  type LimitRule,
  limitsOf,
  type RolloutRule,
  ruleFor,
  type ServiceRules,
} from "../policy/rule-tables.ts";
import {
  type BroughtSession,
  broughtSession,
  drawOf,
  sentSession,
  type Session,
  sessionCookie,
  sessionsInForce,
} from "../policy/session.ts";
import { type EntryForward, ofEndpoint, ofVersion, type Refuse } from "../routing/decide.ts";
import type { ForwardRequest, RequestDecision } from "../routing/decide-request.ts";
import type { RequestView } from "../routing/request-view.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { CanaryMeter } from "./canary-meter.ts";
import type { DestinationGuard } from "./destination-guard.ts";
import type { EntryKey } from "./entry.ts";
import type { Guard, Limiter } from "./guard.ts";

interface ActiveLimit {
  readonly limit: LimitRule;
  readonly limiter: Limiter;
}

// Variants of a target (versions, pinned endpoints) that are remembered, so that a request makes none of its own.
const MAX_VARIANTS = 4_096;
/** A header's own values fall into so many classes, each with a place of its own. */
const SESSION_CLASSES = 256;
const NO_LIMITS: readonly ActiveLimit[] = [];

/** The rules as they concern one workload's way to one service: arranged when they change, asked by every request. */
export class EntryGuard {
  readonly #guard: Guard;
  readonly #random: () => number;
  readonly #service: string;
  readonly #rules: ServiceRules | undefined;
  readonly #limits: readonly ActiveLimit[];
  readonly #sessions: readonly Session[];
  readonly #variants = new Map<string, EntryForward>();
  #lastTarget: EntryForward | undefined;
  #lastGuard: DestinationGuard | undefined;
  #lastRule: BackendRule | undefined;

  constructor(key: EntryKey, tables: RouteTables | undefined, guard: Guard, random: () => number) {
    this.#guard = guard;
    this.#random = random;
    this.#service = serviceKey(key.service);
    const rules = tables?.rules.get(this.#service);
    this.#rules = rules;
    this.#limits =
      rules === undefined
        ? NO_LIMITS
        : limitsOf(rules, key.caller).map((limit) => ({ limit, limiter: guard.limiter(limit) }));
    this.#sessions = sessionsInForce(rules?.backends ?? []);
  }

  /** Which of several clusters: by priority, weight and readiness. */
  pick(sources: readonly EntryForward[]): EntryForward | undefined {
    if (sources.length < 2) return sources[0];
    return sources[pickShare(this.#guard.shares(this.#service, this.#rules, sources), this.#random())];
  }

  /** Where another try goes: not where tries have failed, as long as the rules leave anything else. */
  pickOther(target: EntryForward, sources: readonly EntryForward[], failed: FailedTries): EntryForward {
    if (sources.length < 2) return target;
    const leavesEndpoint = failed.leaves(target.destination, this.#guard.env.choosable(target));
    const hasFailed = sources.map(({ destination }) => failed.has(destination));
    const choice = nextTry(
      this.#guard.shares(this.#service, this.#rules, sources),
      hasFailed,
      leavesEndpoint,
    );
    if (choice === "same") return target;
    const others = choice === "others" ? sources.filter((_, index) => hasFailed[index] !== true) : sources;
    const shares = choice === "others" ? this.#guard.sharesAmong(this.#service, this.#rules, others) : choice;
    const other = others[pickShare(shares, this.#random())];
    if (other === undefined) return target;
    return this.#rules === undefined ? other : this.#ofRollout(other, this.#rules);
  }

  /** Nearly every question of an entry is about the same target. */
  destination(target: EntryForward): DestinationGuard {
    if (target === this.#lastTarget && this.#lastGuard !== undefined) {
      this.#lastGuard.rule = this.#lastRule;
      return this.#lastGuard;
    }
    const guard = this.#guard.destination(this.#service, target);
    const rule = this.#rules === undefined ? undefined : ruleFor(this.#rules.backends, target.destination);
    guard.rule = rule;
    this.#lastTarget = target;
    this.#lastGuard = guard;
    this.#lastRule = rule;
    return guard;
  }

  /** How many endpoints the service has there, as far as is known. */
  endpointsAt(target: EntryForward): number {
    return this.#guard.env.readiness(target)?.total ?? 0;
  }

  /** Whether anything of a request has to be counted. */
  get hasRules(): boolean {
    return this.#rules !== undefined;
  }

  /** What the rules make of a decision to forward: another version or endpoint, or a refusal. `all`: the entry's sources. */
  apply(decision: ForwardRequest, request: RequestView, all: readonly EntryForward[]): RequestDecision {
    const rules = this.#rules;
    if (rules === undefined) return decision;
    // A backend of a route that was chosen is not left again.
    const sources = decision.routed?.sources ?? all;
    const pinned = this.#pinned(decision.target, request, sources, rules);
    const target = pinned ?? this.#ofRollout(decision.target, rules);
    const refusal = this.#limit(target, request);
    if (refusal !== undefined) return refusal;
    return target === decision.target ? decision : { ...decision, target };
  }

  /** For connections of which no request is looked at. */
  applyToConnection(target: EntryForward): EntryForward | Refuse {
    if (this.#rules === undefined) return target;
    const versioned = this.#ofRollout(target, this.#rules);
    return this.#limit(versioned, NO_FIELDS) ?? versioned;
  }

  /** Fields that make the client come back to the same endpoint; empty where it does already, or no rule asks for it. */
  sessionFields(target: EntryForward, request: RequestView, endpoint: string | undefined): string {
    const session = this.sessionRule(target);
    if (session === undefined || endpoint === undefined) return "";
    const { cluster } = this.destination(target);
    const now = this.#guard.wallMs;
    const sent = sentSession(session, request);
    const token = sent === undefined ? undefined : decodeSession(sent);
    const version = target.version === undefined ? undefined : opaqueName(target.version);
    if (
      token?.cluster === cluster &&
      token.endpoint === endpoint &&
      token.version === version &&
      !isExpired(token, now, session.absoluteTimeoutMs)
    )
      return "";
    const sinceS = Math.floor(now / 1_000);
    const value = encodeSession({ cluster, endpoint, sinceS, ...(version === undefined ? {} : { version }) });
    // A value of the client's own needs no other.
    if (session.type === "Header")
      return sent === undefined || token !== undefined ? `${session.name}: ${value}\r\n` : "";
    return sessionCookie(session, value);
  }

  /** Measures requests to a rollout's canary; `undefined` for all others. */
  canary(target: EntryForward): CanaryMeter | undefined {
    if (target.version === undefined || this.#rules === undefined) return undefined;
    const rollout = ruleFor(this.#rules.rollouts, target.destination);
    return rollout?.rule.canary === target.version ? this.#guard.canary(rollout.name) : undefined;
  }

  /** One more connection than the circuit allows: it is refused, or only counted where the rule observes. */
  beyondBound(target: EntryForward): void {
    const { rule } = this.destination(target);
    if (rule === undefined) return;
    if (rule.observe)
      this.observed(rule.name, "circuit_open", `maxConnections of BackendTrafficPolicy ${rule.name}`);
    else this.enforced(rule.name, "circuit_open");
  }

  observed(rule: string, verdict: string, detail: string): void {
    this.#guard.count(rule, verdict, true);
    this.#guard.env.events.access("rule_observed", { rule, verdict, service: this.#service, detail });
  }

  enforced(rule: string, verdict: string): void {
    this.#guard.count(rule, verdict, false);
  }

  /** `draw` in [0, 1) decides for the canary or against it. */
  #ofRollout(target: EntryForward, rules: ServiceRules, given?: number): EntryForward {
    const rollout = this.#rollout(target, rules);
    if (rollout === undefined) return target;
    const draw = given ?? this.#random();
    return this.#withVersion(target, draw * 100 < rollout.weight ? rollout.canary : rollout.stable);
  }

  /** A session stays with its version of a rollout as long as that gets anything; one of before the rollout is stable. */
  #ofSession(home: EntryForward, rules: ServiceRules, version: string | undefined): EntryForward | undefined {
    const rollout = this.#rollout(home, rules);
    if (rollout === undefined) return home;
    const isCanary = version === opaqueName(rollout.canary);
    if (rollout.weight === (isCanary ? 0 : 100)) return undefined;
    return this.#withVersion(home, isCanary ? rollout.canary : rollout.stable);
  }

  #rollout(target: EntryForward, { rollouts }: ServiceRules): RolloutRule["rule"] | undefined {
    if (rollouts.length === 0 || target.version !== undefined) return undefined;
    return ruleFor(rollouts, target.destination)?.rule;
  }

  #withVersion(target: EntryForward, version: string): EntryForward {
    return this.#variant(`${target.id} v ${version}`, () => ofVersion(target, version), target);
  }

  /** What a split between versions has to keep to. */
  session(request: RequestView): BroughtSession | undefined {
    if (this.#sessions.length === 0) return undefined;
    return broughtSession(this.#sessions, request, this.#guard.wallMs);
  }

  /** The rule that keeps sessions with an endpoint, where one is in force. */
  sessionRule(target: EntryForward): Session | undefined {
    const rules = this.#rules;
    if (rules === undefined || rules.backends.length === 0) return undefined;
    const policy = ruleFor(rules.backends, target.destination);
    return policy === undefined || policy.observe ? undefined : policy.rule.session;
  }

  /** Where the request's session belongs, if that place may be used. */
  #pinned(
    target: EntryForward,
    request: RequestView,
    sources: readonly EntryForward[],
    rules: ServiceRules,
  ): EntryForward | undefined {
    const session = this.sessionRule(target);
    const sent = session === undefined ? undefined : sentSession(session, request);
    if (session === undefined || sent === undefined || sent === "") return undefined;
    const token = decodeSession(sent);
    if (token === undefined)
      return session.type === "Header" ? this.#byValue(target, sent, rules) : undefined;
    if (isExpired(token, this.#guard.wallMs, session.absoluteTimeoutMs)) return undefined;
    const home = this.#home(token.cluster, target, sources);
    if (home === undefined || this.destination(home).isEjected(token.endpoint, this.#guard.env.now()))
      return undefined;
    const place = this.#ofSession(home, rules, token.version);
    if (place === undefined) return undefined;
    return this.#variant(`${place.id} e ${token.endpoint}`, () => ofEndpoint(place, token.endpoint), place);
  }

  /** The source of that cluster, while it gets traffic at all. */
  #home(cluster: string, target: EntryForward, sources: readonly EntryForward[]): EntryForward | undefined {
    if (this.destination(target).cluster === cluster) return target;
    const index = sources.findIndex((source) => this.destination(source).cluster === cluster);
    const shares = this.#guard.shares(this.#service, this.#rules, sources);
    return (shares[index] ?? 0) > 0 ? sources[index] : undefined;
  }

  /** A value that the client chose itself always leads to the same endpoint. */
  #byValue(target: EntryForward, value: string, rules: ServiceRules): EntryForward {
    const hash = hashText(value);
    const name = `~${hash % SESSION_CLASSES}`;
    const place = this.#ofRollout(target, rules, drawOf(hash));
    return this.#variant(`${place.id} e ${name}`, () => ofEndpoint(place, name), place);
  }

  #variant(id: string, make: () => EntryForward, base: EntryForward): EntryForward {
    const known = this.#variants.get(id);
    // The permit of a base is as old as the rules it was made by.
    if (known !== undefined && known.permit === base.permit) return known;
    if (this.#variants.size >= MAX_VARIANTS) this.#variants.clear();
    const made = make();
    this.#variants.set(id, made);
    return made;
  }

  #limit(target: EntryForward, fields: RequestFields): Refuse | undefined {
    for (const { limit, limiter } of this.#limits) {
      if (!limitApplies(limit, target.destination, target.version, fields)) continue;
      const waitMs = limiter.take(this.#guard.env.now());
      if (waitMs === 0) continue;
      if (limit.observe) {
        this.observed(limit.name, "limited", "a rate limit is reached");
        continue;
      }
      this.enforced(limit.name, "limited");
      const retryAfterS = Math.max(1, Math.ceil(Math.min(waitMs, MAX_RETRY_MS) / 1_000));
      return { kind: "refuse", problem: limited(limit), retryAfterS };
    }
    return undefined;
  }
}

const MAX_RETRY_MS = 3_600_000;
const NO_FIELDS: RequestFields = { header: () => undefined };

function limited({ name }: LimitRule): Problem {
  return problem("rate_limited", `RateLimit ${name}`);
}
