import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId, TrustDomain } from "../../../federation/model/spiffe-id.ts";
import { workloadName } from "../../../federation/model/workload-pattern.ts";
import { type Refuse, refuse } from "../routing/decide.ts";
import type { RequestWatch } from "../policy/authorization-table.ts";
import type { Permit } from "../policy/authorize.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { TraceContext } from "../telemetry/trace-context.ts";
import type { Counter } from "./counters.ts";
import type { Engine } from "./engine.ts";
import type { Grant } from "./live-grants.ts";
import type { LastHop } from "./forward.ts";
import { abort, isCut, relay, type RelayCounters } from "./relay.ts";
import { clusterOf } from "./route-series.ts";
import { traceFields, traceOf } from "./trace-fields.ts";
import { refuseTunnel, type TunnelRequest } from "./tunnel-server.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import type { RequestFields } from "./tunnel-stream.ts";

/** What the rules are asked about. */
export interface TunnelAsked {
  readonly kind: "egress" | "ingress" | "inbound";
  readonly service: ServiceName;
  readonly port: number;
  /** `aud` that the caller token must have. */
  readonly audience: string;
}

export interface GrantedTunnel<F> extends LastHop {
  readonly decision: F;
  /** The verified caller token, to pass on as it is. */
  readonly token: string;
  /** Fields for the next hop, where the stream is traced. */
  readonly trace: RequestFields | undefined;
}

/** Judges a caller by the rules given; asked again whenever they change. */
export type Judge<F> = (tables: RouteTables, caller: SpiffeId) => F | Refuse;

/**
 * Every tunnel stream passes here, at gateways and agents alike: the caller token is verified, the rules decide, the outcome
 * is counted and logged under the caller's own identity, and what was granted stays under watch while it lasts.
 */
export class TunnelAccess {
  readonly #engine: Engine;
  readonly #series = new Map<string, TunnelSeries>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  /** Answers the stream itself when it refuses. */
  grant<F extends { readonly kind: "forward"; readonly permit: Permit }>(
    request: TunnelRequest,
    asked: TunnelAsked,
    judge: Judge<F>,
  ): GrantedTunnel<F> | undefined {
    const { stream, headers, peer } = request;
    const tables = this.#engine.tables.current;
    if (tables === undefined)
      return this.refuse(request, asked, problem("snapshot_missing", "no snapshot yet"));
    const token = headers[TUNNEL_HEADER.caller];
    const { trust, now } = this.#engine.tunnels;
    const text = typeof token === "string" ? token : undefined;
    const verified = this.#engine.callers.verify(text, asked.audience, trust.current, now());
    if (!verified.ok) return this.refuse(request, asked, verified.error);
    const caller = verified.value;
    const decision = judge(tables, caller);
    if (decision.kind === "refuse") return this.refuse(request, asked, decision.problem, caller);
    const fields = { ...describe(asked), caller: caller.uri, peer: peer.spiffeId.uri };
    this.#engine.events.access("tunnel_opened", fields);
    const labels = labelsOf(request, asked, caller);
    const { requests } = decision.permit;
    this.#watch(stream, caller, judge, asked, request, requests);
    const { service, port } = asked;
    const arrival = { service, port, caller, labels };
    return {
      decision,
      token: text ?? "",
      counters: this.#counters(labels, decision.permit),
      join: requests === "none" ? relay : this.#engine.arrivals.join(arrival, requests),
      now: this.#engine.tunnels.monotonicMs,
      trace: traceFields(this.#trace(request, labels, decision.permit)),
    };
  }

  refuse(request: TunnelRequest, asked: Partial<TunnelAsked>, reason: Problem, caller?: SpiffeId): undefined {
    this.#engine.metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    const peer = request.peer.spiffeId.uri;
    this.#engine.events.refusal("tunnel_refused", reason, { ...describe(asked), caller: caller?.uri, peer });
    refuseTunnel(request.stream, reason);
    return undefined;
  }

  #watch<F extends { readonly permit: Permit }>(
    stream: TunnelRequest["stream"],
    caller: SpiffeId,
    judge: Judge<F>,
    asked: TunnelAsked,
    request: TunnelRequest,
    requests: RequestWatch,
  ): void {
    const { tables, grants } = this.#engine;
    let watched = requests;
    const grant: Grant = {
      bagSlot: -1,
      recheck() {
        const current = tables.current;
        const again =
          current === undefined ? refuse("snapshot_missing", "no snapshot") : judge(current, caller);
        if (isRefusal(again)) return again.problem;
        const wanted = again.permit.requests;
        if (wanted === watched || wanted === "none" || watched === "enforce") return undefined;
        // Its requests are not looked at as they should be: whoever uses it had better open another one.
        watched = wanted;
        stream.hintDrain();
        if (wanted === "observe") return undefined;
        const reason = problem("authorization_denied", "its requests are judged since the rules changed");
        const timer = setTimeout(() => grant.cut(reason), DRAIN_MS);
        stream.once("close", () => clearTimeout(timer));
        return undefined;
      },
      cut: (reason) => {
        this.refuse(request, asked, reason, caller);
        abort(stream);
      },
    };
    grants.add(grant);
    stream.once("close", () => grants.delete(grant));
  }

  #counters(labels: TunnelLabels, permit: Permit): RelayCounters {
    const key = Object.values(labels).join(" ");
    let series = this.#series.get(key);
    if (series === undefined) {
      const { metrics } = this.#engine;
      if (this.#series.size >= MAX_REMEMBERED) this.#series.clear();
      const way = (name: string) => metrics.bytes.series({ ...labels, way: name });
      series = { up: way("up"), down: way("down"), streams: metrics.streams.series(labels) };
      this.#series.set(key, series);
    }
    series.streams.value += 1;
    const { wouldDeny, arrivalWouldDeny } = this.#engine.metrics;
    if (permit.wouldDeny) wouldDeny.series(labels).value += 1;
    if (permit.arrivalWouldDeny) arrivalWouldDeny.series(labels).value += 1;
    return series;
  }

  /** A span as long as the stream. What the hop before said is passed on also where nobody traces here. */
  #trace({ stream, headers, peer }: TunnelRequest, labels: TunnelLabels, permit: Permit) {
    const parent: TraceContext | undefined = traceOf(headers);
    const { tracing } = this.#engine;
    // Without a trace before it, a stream is a pooled one: it carries many requests, and a span would speak of none.
    if (tracing === undefined || parent === undefined) return parent;
    const span = tracing.begin(`${labels.direction} ${labels.service}`, parent, {
      "isthmus.hop": labels.direction,
      "isthmus.peer": peer.spiffeId.uri,
      "isthmus.source.id": permit.caller.uri,
      "isthmus.source.cluster": labels.source_cluster,
      "isthmus.source.workload": labels.workload,
      "isthmus.destination.cluster": labels.destination_cluster,
      "isthmus.destination.service": labels.service,
      "isthmus.destination.port": Number(labels.port),
      "isthmus.destination.version": labels.version,
      "isthmus.verdict": permit.wouldDeny ? "observed" : "permitted",
    });
    stream.once("close", () => span.end({}, isCut(stream) ? "aborted" : undefined));
    return span.context;
  }
}

/** For requests under way when policies begin to look at requests. */
const DRAIN_MS = 2_000;

/** Label sets of live callers; more than any real crowd has. */
const MAX_REMEMBERED = 4_096;

interface TunnelSeries extends RelayCounters {
  readonly streams: Counter;
}

/** As at the entry, plus the direction; the route is known there only. */
type TunnelLabels = ReturnType<typeof labelsOf>;

function labelsOf({ headers }: TunnelRequest, asked: TunnelAsked, caller: SpiffeId) {
  const version = headers[TUNNEL_HEADER.version];
  const [destination = ""] = asked.audience.split("/", 1);
  return {
    direction: asked.kind,
    source_cluster: clusterOf(caller.trustDomain),
    workload: workloadName(caller),
    destination_cluster: clusterOf(destination as TrustDomain),
    service: serviceKey(asked.service),
    port: String(asked.port),
    version: typeof version === "string" ? version : "",
  };
}

function isRefusal(outcome: unknown): outcome is Refuse {
  return (outcome as { readonly kind?: string }).kind === "refuse";
}

function describe(asked: Partial<TunnelAsked>) {
  const { kind, service, port } = asked;
  return { direction: kind, service: service === undefined ? undefined : serviceKey(service), port };
}
