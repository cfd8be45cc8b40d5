import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import type { Watch } from "../lifecycle/watch.ts";
import { pickSource } from "../balance/pick-source.ts";
import { type EntryDecision, type EntryForward, recheckTarget, refuse } from "../routing/decide.ts";
import {
  compileEntry,
  decideRequest,
  type EntryRules,
  observeRequest,
  type RequestDecision,
} from "../routing/decide-request.ts";
import type { CompiledRule } from "../routing/compile-rule.ts";
import type { RequestView } from "../routing/request-view.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { Tracing } from "../telemetry/tracing.ts";
import type { AccessLog } from "./access-log.ts";
import type { Counter, Metrics } from "./counters.ts";
import type { EventLog } from "./event-log.ts";
import { clusterOf, RouteSeries } from "./route-series.ts";
import type { RetryBudgets } from "./retry-budgets.ts";
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
  readonly openLocal?: (target: EntryForward) => OpenedStream | undefined;
  readonly callerToken: (caller: SpiffeId, audience: string) => string;
  readonly metrics: Metrics;
  readonly events: EventLog;
  readonly claims: PortClaims;
  readonly now: () => number;
  /** Milliseconds with fractions, that never go back. */
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly budgets: RetryBudgets;
  /** Present while telemetry is switched on. */
  readonly tracing?: Tracing | undefined;
  /** Present where somebody wants one. */
  readonly accessLog?: AccessLog | undefined;
}

export interface EntryKey {
  readonly caller: SpiffeId;
  /** Local name of the imported service. */
  readonly service: ServiceName;
  readonly port: number;
}

export interface EntryCounters {
  readonly connections: Counter;
  readonly openConnections: Counter;
  /** Bytes read of HTTP connections, requests that never were one included. */
  readonly up: Counter;
  /** A rule's retries that were not made: the budget was spent, or the body too long to be kept. */
  readonly retriesOverBudget: Counter;
  readonly retriesOverBody: Counter;
  readonly mirrors: Counter;
  readonly mirrorsOverBody: Counter;
  readonly mirrorsBusy: Counter;
  readonly wouldDeny: Counter;
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
  #rules: EntryRules;
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
    this.#dice = new EntryDice(env.random);
    this.#rules = this.#compile();
    this.#unsubscribe = env.tables.subscribe(() => {
      this.#rules = this.#compile();
      this.#series = new Map();
      // Their rules are of the past.
      this.#routed.clear();
      this.#dice.forget();
      for (const listener of [...this.#onChange]) listener();
    });
  }

  onDecision(listener: () => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  /** Where this request goes, by the rules in force. */
  decide(request: RequestView): RequestDecision {
    if (this.#rules.observed !== undefined) this.#observe(request);
    return decideRequest(this.#rules, request, this.#dice);
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
    return pickSource(sources, this.env.random()) ?? refuse("no_route", "no source");
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
  open(target: EntryForward, onDrain: () => void, extra?: RequestFields): OpenedStream | undefined {
    if (target.local && this.env.openLocal !== undefined) return this.env.openLocal(target);
    const headers: RequestFields = {
      ":method": "CONNECT",
      ":authority": target.authority,
      [TUNNEL_HEADER.destination]: target.destination,
      [TUNNEL_HEADER.caller]: this.env.callerToken(this.key.caller, target.audience),
      ...(target.version === undefined ? undefined : { [TUNNEL_HEADER.version]: target.version }),
      ...extra,
    };
    return this.upstream(target)?.open(headers, onDrain);
  }

  /** Why nothing can be opened now. */
  unavailable(target: EntryForward): Problem {
    if (target.local && this.env.openLocal !== undefined)
      return problem("no_endpoint", `${target.authority} has no endpoint in this cluster`);
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

  #compile(): EntryRules {
    const { caller, service, port } = this.key;
    return compileEntry(this.env.tables.current, caller, service, port);
  }
}

export type RuleVerdict = "forwarded" | "redirected" | "aborted" | "delayed" | "observed";
type RuleCounters = { [V in RuleVerdict]?: Counter };

/** 1/φ: multiples of it, modulo 1, lie as evenly as any sequence can (Weyl), so that every stretch keeps to the weights. */
const GOLDEN = 0.6180339887498949;

class EntryDice {
  readonly random: () => number;
  readonly #splits = new Map<CompiledRule, number>();

  constructor(random: () => number) {
    this.random = random;
  }

  split(rule: CompiledRule): number {
    const next = ((this.#splits.get(rule) ?? this.random()) + GOLDEN) % 1;
    this.#splits.set(rule, next);
    return next;
  }

  forget(): void {
    this.#splits.clear();
  }
}

function entryCounters({ caller, service, port }: EntryKey, metrics: Metrics): EntryCounters {
  const labels = { workload: workloadName(caller), service: serviceKey(service), port: String(port) };
  return {
    connections: metrics.connections.series(labels),
    openConnections: metrics.openConnections.series(labels),
    up: metrics.workloadBytes.series(labels),
    retriesOverBudget: metrics.retriesSkipped.series({ ...labels, reason: "budget" }),
    retriesOverBody: metrics.retriesSkipped.series({ ...labels, reason: "body" }),
    mirrors: metrics.mirrors.series({ ...labels, outcome: "sent" }),
    mirrorsOverBody: metrics.mirrors.series({ ...labels, outcome: "body too long" }),
    mirrorsBusy: metrics.mirrors.series({ ...labels, outcome: "too many" }),
    wouldDeny: metrics.wouldDeny.series(labels),
  };
}
