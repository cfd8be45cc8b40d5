import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import { type Refuse, refuse } from "../routing/decide.ts";
import type { Permit } from "../policy/authorize.ts";
import type { RouteTables } from "../routing/tables.ts";
import type { Engine } from "./engine.ts";
import type { Grant } from "./live-grants.ts";
import { abort, type RelayCounters } from "./relay.ts";
import { refuseTunnel, type TunnelRequest } from "./tunnel-server.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";

/** What the rules are asked about. */
export interface TunnelAsked {
  readonly kind: "egress" | "ingress" | "inbound";
  readonly service: ServiceName;
  readonly port: number;
  /** `aud` that the caller token must have. */
  readonly audience: string;
}

export interface GrantedTunnel<F> {
  readonly decision: F;
  /** The verified caller token, to pass on as it is. */
  readonly token: string;
  readonly counters: RelayCounters;
}

/** Judges a caller by the rules given; asked again whenever they change. */
export type Judge<F> = (tables: RouteTables, caller: SpiffeId) => F | Refuse;

/**
 * Every tunnel stream passes here, at gateways and agents alike: the caller token is verified, the rules decide, the outcome
 * is counted and logged under the caller's own identity, and what was granted stays under watch while it lasts.
 */
export class TunnelAccess {
  readonly #engine: Engine;

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
    this.#watch(stream, caller, judge, asked, request);
    return { decision, token: text ?? "", counters: this.#counters(asked, decision.permit) };
  }

  refuse(request: TunnelRequest, asked: Partial<TunnelAsked>, reason: Problem, caller?: SpiffeId): undefined {
    this.#engine.metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    const peer = request.peer.spiffeId.uri;
    this.#engine.events.refusal("tunnel_refused", reason, { ...describe(asked), caller: caller?.uri, peer });
    refuseTunnel(request.stream, reason);
    return undefined;
  }

  #watch<F>(
    stream: TunnelRequest["stream"],
    caller: SpiffeId,
    judge: Judge<F>,
    asked: TunnelAsked,
    request: TunnelRequest,
  ): void {
    const { tables, grants } = this.#engine;
    const grant: Grant = {
      recheck() {
        const current = tables.current;
        const again =
          current === undefined ? refuse("snapshot_missing", "no snapshot") : judge(current, caller);
        return isRefusal(again) ? again.problem : undefined;
      },
      cut: (reason) => {
        this.refuse(request, asked, reason, caller);
        abort(stream);
      },
    };
    grants.add(grant);
    stream.once("close", () => grants.delete(grant));
  }

  #counters(asked: TunnelAsked, permit: Permit): RelayCounters {
    const { metrics } = this.#engine;
    const service = serviceKey(asked.service);
    const labels = { direction: asked.kind, service };
    metrics.streams.series(labels).value += 1;
    if (permit.wouldDeny) metrics.wouldDeny.series(labels).value += 1;
    const way = (name: string) => metrics.bytes.series({ ...labels, way: name });
    return { up: way("up"), down: way("down") };
  }
}

function isRefusal(outcome: unknown): outcome is Refuse {
  return (outcome as { readonly kind?: string }).kind === "refuse";
}

function describe(asked: Partial<TunnelAsked>) {
  const { kind, service, port } = asked;
  return { direction: kind, service: service === undefined ? undefined : serviceKey(service), port };
}
