import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import type { Watch } from "../lifecycle/watch.ts";
import { decideEntry, type EntryDecision } from "../routing/decide.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { Counter, Metrics } from "./counters.ts";
import type { EventLog } from "./event-log.ts";
import type { PortClaims } from "./shared-port.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import type { OpenedStream, RequestFields } from "./tunnel-stream.ts";
import type { Upstream } from "./upstream.ts";

/** What entries need from the process they run in. */
export interface EntryEnvironment {
  readonly tables: Watch<RouteTables | undefined>;
  /** The way towards a trust domain: this cluster's gateways for an agent, the peer's for a gateway. */
  readonly upstreamFor: (destination: string) => Upstream | undefined;
  readonly callerToken: (caller: SpiffeId, audience: string) => string;
  readonly metrics: Metrics;
  readonly events: EventLog;
  readonly claims: PortClaims;
  readonly now: () => number;
}

export interface EntryKey {
  readonly caller: SpiffeId;
  /** Local name of the imported service. */
  readonly service: ServiceName;
  readonly port: number;
}

export interface EntryCounters {
  /** Index 1..5: responses of that status class. */
  readonly responses: readonly Counter[];
  readonly connections: Counter;
  readonly openConnections: Counter;
  readonly up: Counter;
  readonly down: Counter;
  readonly retries: Counter;
  readonly wouldDeny: Counter;
}

/**
 * One workload's way to one port of one imported service. Caller and service are those of the local address, so the
 * decision is made when the rules change, and a request only reads it.
 */
export class Entry {
  readonly key: EntryKey;
  readonly env: EntryEnvironment;
  readonly counters: EntryCounters;
  /** Via pseudonym (RFC 9110 §7.6.3): names the cluster, so that a request that comes round again is recognized. */
  readonly pseudonym: string;
  decision: EntryDecision;
  readonly #onChange = new Set<() => void>();
  readonly #unsubscribe: () => void;

  constructor(key: EntryKey, env: EntryEnvironment) {
    this.key = key;
    this.env = env;
    this.counters = entryCounters(key, env.metrics);
    this.pseudonym = `isthmus-${key.caller.trustDomain}`;
    this.decision = this.#decide();
    this.#unsubscribe = env.tables.subscribe(() => {
      this.decision = this.#decide();
      for (const listener of [...this.#onChange]) listener();
    });
  }

  onDecision(listener: () => void): () => void {
    this.#onChange.add(listener);
    return () => this.#onChange.delete(listener);
  }

  upstream(): Upstream | undefined {
    return this.decision.kind === "forward" ? this.env.upstreamFor(this.decision.destination) : undefined;
  }

  /** Opens a stream to the service through a ready tunnel; `undefined` when there is none. */
  open(onDrain: () => void, extra?: RequestFields): OpenedStream | undefined {
    const { decision } = this;
    if (decision.kind !== "forward") return undefined;
    const headers: RequestFields = {
      ":method": "CONNECT",
      ":authority": decision.authority,
      [TUNNEL_HEADER.destination]: decision.destination,
      [TUNNEL_HEADER.caller]: this.env.callerToken(this.key.caller, decision.audience),
      ...extra,
    };
    return this.upstream()?.open(headers, onDrain);
  }

  /** Why nothing can be opened now. */
  unavailable(): Problem {
    if (this.decision.kind === "refuse") return this.decision.problem;
    const upstream = this.upstream();
    return upstream?.hasReadyTunnel === true
      ? problem("overloaded", `every tunnel to ${upstream.cluster} carries as many streams as it may`)
      : problem(
          "gateway_unreachable",
          `no tunnel to ${upstream?.cluster ?? this.decision.destination} is up`,
        );
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

  #decide(): EntryDecision {
    const { caller, service, port } = this.key;
    return decideEntry(this.env.tables.current, caller, service, port);
  }
}

function entryCounters({ caller, service, port }: EntryKey, metrics: Metrics): EntryCounters {
  const labels = { workload: workloadName(caller), service: serviceKey(service), port: String(port) };
  const direction = (way: string) =>
    metrics.bytes.series({ direction: "outbound", service: labels.service, way });
  return {
    responses: [0, 1, 2, 3, 4, 5].map((status) =>
      metrics.requests.series({ ...labels, status: `${status}xx` }),
    ),
    connections: metrics.connections.series(labels),
    openConnections: metrics.openConnections.series(labels),
    up: direction("up"),
    down: direction("down"),
    retries: metrics.retries.series(labels),
    wouldDeny: metrics.wouldDeny.series(labels),
  };
}
