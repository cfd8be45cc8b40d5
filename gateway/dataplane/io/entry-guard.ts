import { serviceKey } from "../../../federation/model/service.ts";
import { type FailedTries, nextTry } from "../balance/failed-tries.ts";
import { pickShare } from "../balance/failover.ts";
import { hashText } from "../balance/rendezvous.ts";
import { decodeSession, isExpired, opaqueName } from "../balance/session-token.ts";
import { type BackendRule, type RequestFields, ruleFor, type ServiceRules } from "../policy/rule-tables.ts";
import {
  type BroughtSession,
  broughtSession,
  drawOf,
  sentSession,
  type Session,
  sessionField,
  sessionsInForce,
} from "../policy/session.ts";
import type { EntryForward, Refuse } from "../routing/decide.ts";
import type { ForwardRequest, RequestDecision } from "../routing/decide-request.ts";
import type { RequestView } from "../routing/request-view.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { CanaryMeter } from "./canary-meter.ts";
import type { DestinationGuard } from "./destination-guard.ts";
import type { EntryKey } from "./entry.ts";
import { EntryLimits } from "./entry-limits.ts";
import { EntryRollouts } from "./entry-rollouts.ts";
import type { Division, Guard } from "./guard.ts";
import { TargetVariants } from "./target-variants.ts";

/** A header's own values fall into so many classes, each with a place of its own. */
const SESSION_CLASSES = 256;

/** The rules as they concern one workload's way to one service: arranged when they change, asked by every request. */
export class EntryGuard {
  readonly #guard: Guard;
  readonly #random: () => number;
  readonly #service: string;
  readonly #rules: ServiceRules | undefined;
  readonly #limits: EntryLimits;
  readonly #sessions: readonly Session[];
  readonly #observes: boolean;
  readonly #variants = new TargetVariants();
  readonly #rollouts: EntryRollouts;
  #lastTarget: EntryForward | undefined;
  #lastGuard: DestinationGuard | undefined;
  #lastRule: BackendRule | undefined;

  constructor(key: EntryKey, tables: RouteTables | undefined, guard: Guard, random: () => number) {
    this.#guard = guard;
    this.#random = random;
    this.#service = serviceKey(key.service);
    const rules = tables?.rules.get(this.#service);
    this.#rules = rules;
    this.#limits = new EntryLimits(guard, this.#service, rules, key.caller);
    this.#sessions = sessionsInForce(rules?.backends ?? []);
    this.#rollouts = new EntryRollouts(guard, this.#service, rules?.rollouts ?? [], this.#variants, random);
    this.#observes = rules !== undefined && observesRequests(rules);
  }

  /** Which of several clusters: by priority, weight and readiness. */
  pick(sources: readonly EntryForward[]): EntryForward | undefined {
    if (sources.length < 2) return sources[0];
    return sources[pickShare(this.#division(sources).parts, this.#random())];
  }

  /** Where another try goes: not where tries have failed, as long as the rules leave anything else. */
  pickOther(target: EntryForward, sources: readonly EntryForward[], failed: FailedTries): EntryForward {
    if (sources.length < 2) return target;
    const leavesEndpoint = failed.leaves(target.destination, this.#guard.env.choosable(target));
    const hasFailed = sources.map(({ destination }) => failed.has(destination));
    const choice = nextTry(this.#division(sources).parts, hasFailed, leavesEndpoint);
    if (choice === "same") return target;
    const others = choice === "others" ? sources.filter((_, index) => hasFailed[index] !== true) : sources;
    const shares = choice === "others" ? this.#guard.sharesAmong(this.#service, this.#rules, others) : choice;
    const other = others[pickShare(shares, this.#random())];
    if (other === undefined) return target;
    return this.#rollouts.versionOf(other);
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
    if (this.#rules === undefined) return decision;
    // A backend of a route that was chosen is not left again.
    const sources = decision.routed?.sources ?? all;
    const policy = this.#sessions.length === 0 ? undefined : this.#backend(decision.target, false);
    const pinned = policy && this.#pinned(policy, decision.target, request, sources);
    const target = pinned ?? this.#rollouts.versionOf(decision.target);
    const refusal = this.#limits.take(target, request);
    if (refusal !== undefined) return refusal;
    if (this.#observes) {
      const isFree = pinned === undefined && !this.#observeSession(decision.target, sources, request);
      if (isFree) this.#observeFailover(decision.target, sources);
      this.#rollouts.observe(target, pinned && this.session(request));
    }
    return target === decision.target ? decision : { ...decision, target };
  }

  /** For connections of which no request is looked at. */
  applyToConnection(target: EntryForward, sources: readonly EntryForward[]): EntryForward | Refuse {
    if (this.#rules === undefined) return target;
    const versioned = this.#rollouts.versionOf(target);
    const refusal = this.#limits.take(versioned, NO_FIELDS);
    if (refusal !== undefined) return refusal;
    if (this.#observes) {
      this.#observeFailover(target, sources);
      this.#rollouts.observe(versioned, undefined);
    }
    return versioned;
  }

  /** Fields that make the client come back to the same endpoint; empty where it does already, or no rule asks for it. */
  sessionFields(target: EntryForward, request: RequestView, endpoint: string | undefined): string {
    const session = this.sessionRule(target);
    if (session === undefined || endpoint === undefined) return "";
    const { cluster } = this.destination(target);
    const version = target.version === undefined ? {} : { version: opaqueName(target.version) };
    const place = { cluster, endpoint, ...version };
    return sessionField(session, place, sentSession(session, request), this.#guard.wallMs);
  }

  /** Measures requests to a rollout's canary; `undefined` for all others. */
  canary(target: EntryForward): CanaryMeter | undefined {
    return this.#rollouts.canary(target);
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
    this.#guard.observed(this.#service, rule, verdict, detail);
  }

  enforced(rule: string, verdict: string): void {
    this.#guard.count(rule, verdict, false);
  }

  /** What a split between versions has to keep to. */
  session(request: RequestFields): BroughtSession | undefined {
    if (this.#sessions.length === 0) return undefined;
    return broughtSession(this.#sessions, request, this.#guard.wallMs);
  }

  /** The rule that keeps sessions with an endpoint, where one is in force. */
  sessionRule(target: EntryForward): Session | undefined {
    return this.#sessions.length === 0 ? undefined : this.#backend(target, false)?.rule.session;
  }

  /** The policy about a target, if it observes or is in force, as asked. */
  #backend(target: EntryForward, observe: boolean): BackendRule | undefined {
    const backends = this.#rules?.backends;
    if (backends === undefined || backends.length === 0) return undefined;
    const policy = ruleFor(backends, target.destination);
    return policy?.observe === observe ? policy : undefined;
  }

  /** Where the policy sends the request's session, if that place may be used. */
  #pinned(
    policy: BackendRule,
    target: EntryForward,
    request: RequestFields,
    sources: readonly EntryForward[],
  ): EntryForward | undefined {
    const { session } = policy.rule;
    const sent = session && sentSession(session, request);
    if (session === undefined || sent === undefined || sent === "") return undefined;
    const token = decodeSession(sent);
    if (token === undefined) return session.type === "Header" ? this.#byValue(target, sent) : undefined;
    if (isExpired(token, this.#guard.wallMs, session.absoluteTimeoutMs)) return undefined;
    const home = this.#home(token.cluster, target, sources, policy.observe);
    if (home === undefined || this.destination(home).isEjected(token.endpoint, this.#guard.env.now()))
      return undefined;
    const place = this.#rollouts.ofSession(home, token.version);
    return place && this.#variants.ofEndpoint(place, token.endpoint);
  }

  /** The source of that cluster, while it gets traffic at all. */
  #home(
    cluster: string,
    target: EntryForward,
    sources: readonly EntryForward[],
    observe: boolean,
  ): EntryForward | undefined {
    if (this.destination(target).cluster === cluster) return target;
    const index = sources.findIndex((source) => this.destination(source).cluster === cluster);
    const { parts, observed } = this.#division(sources);
    const shares = observe && observed !== undefined ? observed.parts : parts;
    return (shares[index] ?? 0) > 0 ? sources[index] : undefined;
  }

  /** A value that the client chose itself always leads to the same endpoint. */
  #byValue(target: EntryForward, value: string): EntryForward {
    const hash = hashText(value);
    const name = `~${hash % SESSION_CLASSES}`;
    const place = this.#rollouts.versionOf(target, drawOf(hash));
    return this.#variants.ofEndpoint(place, name);
  }

  #division(sources: readonly EntryForward[]): Division {
    return this.#guard.division(this.#service, this.#rules, sources);
  }

  /** Whether the request would go by its session, and not by what divides the traffic. */
  #observeSession(target: EntryForward, sources: readonly EntryForward[], request: RequestFields): boolean {
    const policy = this.#backend(target, true);
    if (policy?.rule.session === undefined) return false;
    const { name, type } = policy.rule.session;
    const place = this.#pinned(policy, target, request, sources);
    if (place !== undefined)
      this.observed(policy.name, "session_kept", `${type} ${name} leads to ${place.destination}`);
    // An empty header is a value of the client's own, too.
    else if (type === "Cookie" || sentSession(policy.rule.session, request) !== "")
      this.observed(policy.name, "session_begun", `${type} ${name} would be given`);
    return place !== undefined;
  }

  /** So much of a cluster's traffic as its share would be smaller, and all of it where it would get none. */
  #observeFailover(target: EntryForward, sources: readonly EntryForward[]): void {
    if (sources.length < 2) return;
    const { parts, observed } = this.#division(sources);
    if (observed === undefined) return;
    const index = sources.indexOf(target);
    if (this.#random() * (parts[index] ?? 0) < (observed.parts[index] ?? 0)) return;
    this.observed(observed.rule, "failover", `another cluster than ${target.destination}`);
  }
}

const NO_FIELDS: RequestFields = { header: () => undefined };

/** Whether a rule that only observes has to be asked of every request. */
function observesRequests({ backends, rollouts }: ServiceRules): boolean {
  if (rollouts.some(({ observe }) => observe)) return true;
  return backends.some(
    ({ observe, rule: { failover, session } }) => observe && (failover ?? session) !== undefined,
  );
}
