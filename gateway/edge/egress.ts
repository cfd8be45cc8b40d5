import { problem } from "../../federation/model/problem.ts";
import {
  decideEgress,
  type Engine,
  forwardToUpstream,
  TUNNEL_HEADER,
  type TunnelAccess,
  type TunnelRequest,
  type TunnelTarget,
} from "../dataplane/index.ts";
import { askedEndpoint, type Delivery, endpointFields } from "./delivery.ts";
import type { PeerGateways } from "./peer-gateways.ts";

/**
 * Where tunnels of this cluster's agents leave it, or turn round to a service of its own: the caller is judged again, by the
 * rules of its own cluster.
 */
export function createEgress(engine: Engine, access: TunnelAccess, peers: PeerGateways, delivery: Delivery) {
  return (request: TunnelRequest, target: TunnelTarget): void => {
    const granted = access.grant(request, target, (tables, caller) => decideEgress(tables, target, caller));
    if (granted === undefined) return;
    const { decision, token, counters, trace } = granted;
    engine.flows.service(decision.permit.caller, decision.service, decision.permit.wouldDeny);
    const wish = askedEndpoint(request);
    if (decision.local) {
      const { service, port } = target;
      return delivery.forward(request.stream, { service, port, wish, token, trace, hop: granted });
    }
    const upstream = peers.get(decision.destination);
    if (upstream === undefined) {
      const reason = problem("gateway_unreachable", `${decision.destination} has no gateway yet`);
      return void access.refuse(request, target, reason, decision.permit.caller);
    }
    const headers = {
      ":method": "CONNECT",
      ":authority": decision.authority,
      [TUNNEL_HEADER.destination]: decision.destination,
      [TUNNEL_HEADER.caller]: token,
      ...endpointFields(wish),
      ...trace,
    };
    forwardToUpstream(request.stream, upstream, headers, counters);
  };
}
