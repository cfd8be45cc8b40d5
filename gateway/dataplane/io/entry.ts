// Longer than other files: what every protocol does at one way in, in the order of a request.
import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { parseServiceAuthority, serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import type { FailedTries } from "../balance/failed-tries.ts";
import type { Watch } from "../lifecycle/watch.ts";
import { type EntryDecision, type EntryForward, recheckTarget, refuse } from "../routing/decide.ts";
import {
  compileEntry,
  decideRequest,
  type EntryRules,
  type ForwardRequest,
  observeRequest,
  type RequestDecision,
} from "../routing/decide-request.ts";
import type { CompiledRule } from "../routing/compile-rule.ts";
import type { JudgedRequest } from "../policy/authorization-request.ts";
import { authorizeRequest } from "../policy/authorize.ts";
import { modifiedPath } from "../routing/head-edits.ts";
import { pathOf, type RequestView } from "../routing/request-view.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { Tracing } from "../telemetry/tracing.ts";
import type { AccessLog } from "./access-log.ts";
import type { Waiter } from "./connection-queue.ts";
import type { Counter, Metrics } from "./counters.ts";
import { type EntryCounters, entryCounters } from "./entry-counters.ts";
import { EntryDice } from "./entry-dice.ts";
import { EntryGuard } from "./entry-guard.ts";
import type { EventLog } from "./event-log.ts";
import { NO_TICKET, type Ticket, ticketFor } from "./exchange-ticket.ts";
import type { Guard } from "./guard.ts";
import { clusterOf, RouteSeries } from "./route-series.ts";
import type { RetryBudgets } from "./retry-budgets.ts";
import type { FlowTable } from "./external/flows.ts";
import type { PortClaims } from "./shared-port.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import type { OpenedStream, RequestFields } from "./tunnel-stream.ts";
import type { Upstream } from "./upstream.ts";

/** What entries need from the process they run in. */
export interface EntryEnvironment {
  readonly tables: Watch<RouteTables | undefined>;
  /** The way towards a trust domain: this cluster's gateways for an agent, the peer's for a gateway. */
  readonly upstreamFor: (destination: string) => Upstream | undefined;
  /** Present where workloads of our own cluster are dialled from here: the way to one, `undefined` if there is none. */
  readonly openLocal?: (target: EntryForward, avoid: string | undefined) => OpenedStream | undefined;
  /** Our own endpoints of a name are reached without us, and what comes here was meant for those of other clusters, if there are any. */
  readonly forOthers?: boolean;
  /** `undefined`: this process has no valid identity of the caller. */
  readonly callerToken: (caller: SpiffeId, audience: string) => string | undefined;
  readonly metrics: Metrics;
  readonly events: EventLog;
  readonly claims: PortClaims;
  /** Present where workloads leave the cluster from here. */
  readonly flows?: FlowTable;
  /** Milliseconds that pass evenly, whatever the clock of the machine is set to. */
  readonly now: () => number;
  /** The same with fractions. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly budgets: RetryBudgets;
  /** Present while telemetry is switched on. */
  readonly tracing?: Tracing | undefined;
  /** Present where somebody wants one. */
  readonly accessLog?: AccessLog | undefined;
  /** What the rules of this process remember between requests. */
  readonly guard: Guard;
}

export interface OpenOptions {
  /** Fields beside those that say where it goes. */
  readonly extra?: RequestFields | undefined;
  /** Names of endpoints that will not do, comma-separated. */
  readonly avoid?: string | undefined;
}

export interface EntryKey {
  readonly caller: SpiffeId;
  /** Local name of the imported service. */
  readonly service: ServiceName;
  readonly port: number;
}

/**
 * One workload's way to one port of one imported service. Caller and service are those of the local address, so what may be
 * decided without the request is decided when the rules change; where each request goes, it is asked for each.
 */
export class Entry {
  readonly key: EntryKey;
  readonly env: EntryEnvironment;
  readonly counters: EntryCounters;
  /** Via pseudonym (RFC 9110 §7.6.3): names the cluster, so that a request that comes round again is recognized. */
  readonly pseudonym: string;
  /** Rate limits, circuits, sessions and the choice among clusters. */
  guard: EntryGuard;
  /** As the tables are now; made when first asked for, since a change is seldom about more than a few of thousands of entries. */
  #compiled: EntryRules | undefined;
  /** By route and target; as old as the rules. */
  #series = new Map<string, Map<string, RouteSeries>>();
  readonly #dice: EntryDice;
  #routed = new Map<CompiledRule, RuleCounters>();
  readonly #onChange = new Set<() => void>();
  readonly #unsubscribe: () => void;

  constructor(key: EntryKey, env: EntryEnvironment) {
    this.key = key;
    this.env = env;
    this.counters = entryCounters(key, env.metrics);
    this.pseudonym = `isthmus-${key.caller.trustDomain}`;
    this.guard = this.#compileGuard();
    this.#dice = new EntryDice(
      env.random,
      (sources) => this.guard.pick(sources),
      (request) => this.guard.session(request),
    );
    this.#unsubscribe = env.tables.subscribe((tables) => this.#renew(tables));
  }

  #renew(tables: RouteTables | undefined): void {
    this.#compiled = undefined;
    // At once: limits that several processes share have to be known to them before the first request.
    if (this.guard.hasRules || tables?.rules.has(serviceKey(this.key.service)) === true)
      this.guard = this.#compileGuard();
    if (this.#series.size > 0) this.#series = new Map();
    // Their rules are of the past.
    if (this.#routed.size > 0) this.#routed.clear();
    this.#dice.forget();
    for (const listener of [...this.#onChange]) listener();
  }

  get #rules(): EntryRules {
    return (this.#compiled ??= this.#compile());
  }

  onDecision(listener: () => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  /** Where this request goes, by the rules in force. */
  decide(request: RequestView): RequestDecision {
    if (this.#rules.observed !== undefined) this.#observe(request);
    const decision = decideRequest(this.#rules, request, this.#dice);
    if (decision.kind !== "forward") return decision;
    const applied = this.guard.apply(decision, request, this.#rules.sources);
    return applied.kind === "forward" && this.#arrives(applied) ? this.#arrive(applied, request) : applied;
  }

  #arrives({ target, routed }: ForwardRequest): boolean {
    if (this.#isJudgedHere(target)) return true;
    return routed !== undefined && routed.mirrors.some((mirror) => this.#isJudgedHere(mirror));
  }

  /** A service that is dialled from here: this is also where its AuthorizationPolicies look at requests. */
  #arrive(decision: ForwardRequest, { method, target }: RequestView): RequestDecision {
    const { routed } = decision;
    const isHere = this.#isJudgedHere(decision.target);
    const edit = routed?.edits.path;
    const path =
      edit === undefined ? pathOf(target) : modifiedPath(edit, pathOf(target), routed?.prefix ?? "");
    const refusal = isHere ? this.#arrivalRefusal(decision.target, { method, path }) : undefined;
    if (refusal !== undefined) return { kind: "refuse", problem: refusal };
    if (routed === undefined) return decision;
    const mirrors = routed.mirrors.filter(
      (mirror) => !this.#isJudgedHere(mirror) || this.#arrivalRefusal(mirror, { method, path }) === undefined,
    );
    return { ...decision, routed: { ...routed, mirrors } };
  }

  #isJudgedHere({ local, permit }: EntryForward): boolean {
    return local && permit.requests !== "none" && this.env.openLocal !== undefined;
  }

  /** `null`: no request is looked at. */
  #arrivalRefusal(target: EntryForward, request: JudgedRequest | null): Problem | undefined {
    const tables = this.env.tables.current;
    // By the owner's name of it.
    const owned = parseServiceAuthority(target.authority);
    if (tables === undefined || owned === undefined) return problem("snapshot_missing", "no snapshot");
    const { caller } = this.key;
    const verdict = authorizeRequest(tables.authorization, owned, owned.port, caller, request);
    if ("name" in verdict) return verdict;
    if (verdict.wouldDeny) {
      const labels = { workload: workloadName(caller), service: serviceKey(owned), port: String(owned.port) };
      this.env.metrics.arrivalWouldDeny.series(labels).value += 1;
    }
    return undefined;
  }

  /** Counts what came of a rule. */
  countRule(rule: CompiledRule, verdict: RuleVerdict): void {
    let known = this.#routed.get(rule);
    if (known === undefined) {
      known = {};
      this.#routed.set(rule, known);
    }
    const counter = (known[verdict] ??= this.#ruleCounter(rule.route, rule.name, verdict));
    counter.value += 1;
  }

  /** Where a connection goes of which no request is looked at. */
  decideConnection(): EntryDecision {
    const { always, sources } = this.#rules;
    if (always?.kind === "refuse") return always;
    const target = this.guard.pick(sources);
    if (target === undefined) return refuse("no_route", "no source");
    const refusal = this.#isJudgedHere(target) ? this.#arrivalRefusal(target, null) : undefined;
    return refusal === undefined
      ? this.guard.applyToConnection(target, sources)
      : { kind: "refuse", problem: refusal };
  }

  /** Begins an exchange with a target: what it costs the circuit, and who is told how it went. */
  enter(target: EntryForward): Ticket | Problem {
    return this.guard.hasRules ? ticketFor(this.guard, target, this.env.now) : NO_TICKET;
  }

  /**
   * Where another try goes, and its ticket: elsewhere than where tries have failed, if the rules leave a place that takes it.
   * Answers `undefined` where it stays with its target.
   */
  moveOn(
    target: EntryForward,
    sources: readonly EntryForward[],
    failed: FailedTries,
  ): { readonly target: EntryForward; readonly ticket: Ticket } | undefined {
    const other = this.guard.pickOther(target, sources, failed);
    // What was judged of one request is not known here.
    if (other === target || this.#isJudgedHere(other) || this.recheck(other) !== undefined) return undefined;
    const ticket = this.enter(other);
    return "name" in ticket ? undefined : { target: other, ticket };
  }

  /** A connection to the target can take another request: the one that waits longest may have it. */
  connectionFree(target: EntryForward): void {
    if (this.guard.hasRules) this.guard.destination(target).idle();
  }

  /** Whether outlier detection lets nothing more go to this endpoint. */
  isEjected(target: EntryForward, endpoint: string | undefined): boolean {
    if (!this.guard.hasRules) return false;
    const destination = this.guard.destination(target);
    return destination.hasEjected && destination.isEjected(endpoint, this.env.now());
  }

  /** Why the rules in force would not permit this target any more. */
  recheck(target: EntryForward): Problem | undefined {
    return recheckTarget(this.env.tables.current, target);
  }

  /** The counters of what goes by `route` to `target`; without one, of what goes nowhere. */
  seriesOf(target: EntryForward | undefined, route: string): RouteSeries {
    let byTarget = this.#series.get(route);
    if (byTarget === undefined) {
      byTarget = new Map();
      this.#series.set(route, byTarget);
    }
    const id = target?.id ?? "";
    return byTarget.get(id) ?? this.#makeSeries(byTarget, id, target, route);
  }

  upstream(target: EntryForward): Upstream | undefined {
    return target.local && this.env.openLocal !== undefined
      ? undefined
      : this.env.upstreamFor(target.destination);
  }

  /** Opens a stream to the service through a ready tunnel; `undefined` when there is none. */
  open(target: EntryForward, onDrain: () => void, options: OpenOptions = {}): OpenedStream | undefined {
    const destination = this.guard.hasRules ? this.guard.destination(target) : undefined;
    if (destination?.mayConnect === false) return undefined;
    const ejected = destination?.avoided(this.env.now());
    const avoid = ejected && options.avoid ? `${options.avoid},${ejected}` : (options.avoid ?? ejected);
    const stream = this.#dial(target, onDrain, options.extra, avoid);
    if (stream !== undefined)
      this.env.flows?.service(this.key.caller, target.service, target.permit.wouldDeny);
    if (stream === undefined || destination === undefined) return stream;
    if (destination.isAtBound) this.guard.beyondBound(target);
    destination.connected();
    stream.once("close", () => destination.disconnected());
    return stream;
  }

  #dial(
    target: EntryForward,
    onDrain: () => void,
    extra: RequestFields | undefined,
    avoid: string | undefined,
  ): OpenedStream | undefined {
    if (target.local && this.env.openLocal !== undefined) return this.env.openLocal(target, avoid);
    const token = this.env.callerToken(this.key.caller, target.audience);
    if (token === undefined) return undefined;
    const headers: RequestFields = {
      ":method": "CONNECT",
      ":authority": target.authority,
      [TUNNEL_HEADER.destination]: target.destination,
      [TUNNEL_HEADER.caller]: token,
      ...(target.version === undefined ? undefined : { [TUNNEL_HEADER.version]: target.version }),
      ...(target.endpoint === undefined ? undefined : { [TUNNEL_HEADER.endpoint]: target.endpoint }),
      ...(avoid === undefined ? undefined : { [TUNNEL_HEADER.avoid]: avoid }),
      ...extra,
    };
    return this.upstream(target)?.open(headers, onDrain);
  }

  /**
   * Says whether it is worth trying again: when a tunnel is ready, or, at the circuit's bound, when a connection is free. A waiter that
   * finds the bound reached answers that it still waits, and hears again.
   */
  whenAvailable(target: EntryForward, waiter: Waiter): void {
    const destination = this.guard.hasRules ? this.guard.destination(target) : undefined;
    if (destination?.mayConnect === false) {
      if (destination.wait(waiter)) return;
      this.guard.beyondBound(target);
      waiter.tryAgain(false);
      return;
    }
    const upstream = this.upstream(target);
    if (upstream === undefined) waiter.tryAgain(false);
    else
      upstream.whenReady((worth) => {
        if (waiter.tryAgain(worth)) this.whenAvailable(target, waiter);
      });
  }

  /** Whether only the circuit's bound is in the way of another connection. */
  isFull(target: EntryForward): boolean {
    return this.guard.hasRules && !this.guard.destination(target).mayConnect;
  }

  /** Why nothing can be opened now. */
  unavailable(target: EntryForward): Problem {
    if (this.isFull(target))
      return problem("circuit_open", `maxConnections to ${target.authority} at ${target.destination}`);
    if (target.local && this.env.openLocal !== undefined)
      return problem("no_endpoint", `${target.authority} has no endpoint in this cluster`);
    if (this.env.callerToken(this.key.caller, target.audience) === undefined)
      return problem("identity_pending", `${this.key.caller.uri} has no valid SVID here`);
    const upstream = this.upstream(target);
    return upstream?.hasReadyTunnel === true
      ? problem("overloaded", `every tunnel to ${upstream.cluster} carries as many streams as it may`)
      : problem("gateway_unreachable", `no tunnel to ${upstream?.cluster ?? target.destination} is up`);
  }

  refused(reason: Problem): void {
    this.env.metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    this.env.events.refusal("refused", reason, this.describe());
  }

  describe(): { readonly caller: string; readonly service: string; readonly port: number } {
    return { caller: this.key.caller.uri, service: serviceKey(this.key.service), port: this.key.port };
  }

  close(): void {
    this.#unsubscribe();
    this.#onChange.clear();
  }

  #makeSeries(
    known: Map<string, RouteSeries>,
    id: string,
    target: EntryForward | undefined,
    route: string,
  ): RouteSeries {
    const { caller, service, port } = this.key;
    const labels = {
      source_cluster: clusterOf(caller.trustDomain),
      workload: workloadName(caller),
      destination_cluster: target === undefined ? "" : clusterOf(target.destination),
      service: serviceKey(service),
      port: String(port),
      version: target?.version ?? "",
      route,
    };
    const made = new RouteSeries(labels, this.env.metrics);
    known.set(id, made);
    return made;
  }

  /** An observing rule changes nothing: that it fits is counted, and logged as far as the log's budget goes. */
  #observe(request: RequestView): void {
    const seen = observeRequest(this.#rules, request);
    if (seen === undefined) return;
    if (seen === "unmatched") this.#ruleCounter("", "unmatched", "observed").value += 1;
    else {
      this.countRule(seen, "observed");
      this.env.events.access("route_observed", { ...this.describe(), route: seen.route, rule: seen.name });
    }
  }

  #ruleCounter(route: string, rule: string, verdict: RuleVerdict): Counter {
    const { caller, service } = this.key;
    const labels = { workload: workloadName(caller), service: serviceKey(service), route, rule, verdict };
    return this.env.metrics.routed.series(labels);
  }

  #compileGuard(): EntryGuard {
    return new EntryGuard(this.key, this.env.tables.current, this.env.guard, this.env.random);
  }

  #compile(): EntryRules {
    const { caller, service, port } = this.key;
    return compileEntry(this.env.tables.current, caller, service, port, this.env.forOthers);
  }
}

export type RuleVerdict = "forwarded" | "redirected" | "aborted" | "delayed" | "observed";
type RuleCounters = { [V in RuleVerdict]?: Counter };
