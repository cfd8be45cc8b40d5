import {
  decideIngress,
  type TunnelAccess,
  type TunnelRequest,
  type TunnelTarget,
} from "../dataplane/index.ts";
import { askedEndpoint, type Delivery } from "./delivery.ts";

/** Where tunnels of other clusters end: judged by the caller's own identity, then handed to an agent or to the workload. */
export function createIngress(access: TunnelAccess, delivery: Delivery) {
  return (request: TunnelRequest, target: TunnelTarget): void => {
    const { stream, peer } = request;
    const granted = access.grant(request, target, (tables, caller) =>
      decideIngress(tables, target, caller, peer.spiffeId),
    );
    if (granted === undefined) return;
    const { decision, token, trace } = granted;
    const { service, port } = decision;
    delivery.forward(stream, { service, port, wish: askedEndpoint(request), token, trace, hop: granted });
  };
}
