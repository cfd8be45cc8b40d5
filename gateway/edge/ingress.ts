import { problem } from "../../federation/model/problem.ts";
import { serviceAuthority, serviceKey } from "../../federation/model/service.ts";
import {
  decideIngress,
  type EndpointBalancer,
  forwardToEndpoint,
  forwardToUpstream,
  refuseTunnel,
  TUNNEL_HEADER,
  type TunnelAccess,
  type TunnelRequest,
  type TunnelTarget,
  type Upstream,
} from "../dataplane/index.ts";

/** Where tunnels of other clusters end: judged by the caller's own identity, then handed to an agent or to the workload. */
export function createIngress(access: TunnelAccess, endpoints: EndpointBalancer, agents: Upstream) {
  return (request: TunnelRequest, target: TunnelTarget): void => {
    const { stream, peer } = request;
    const granted = access.grant(request, target, (tables, caller) =>
      decideIngress(tables, target, caller, peer.spiffeId),
    );
    if (granted === undefined) return;
    const { decision, token, counters } = granted;
    const { service, port } = decision;
    const endpoint = endpoints.pick(`${serviceKey(service)}:${port}`);
    if (endpoint === undefined) {
      return refuseTunnel(
        stream,
        problem("no_endpoint", `${serviceKey(service)}:${port} has no endpoint here`),
      );
    }
    if (!agents.hasAddresses) return forwardToEndpoint(stream, endpoint.address, counters, endpoint.release);
    stream.once("close", endpoint.release);
    const headers = {
      ":method": "CONNECT",
      ":authority": endpoint.address,
      [TUNNEL_HEADER.service]: serviceAuthority(service, port),
      [TUNNEL_HEADER.caller]: token,
    };
    forwardToUpstream(stream, agents, headers, counters);
  };
}
