import { type Problem, problem } from "../../federation/model/problem.ts";
import {
  parseServiceAuthority,
  serviceAudience,
  serviceKey,
  type ServiceName,
} from "../../federation/model/service.ts";
import { systemRole, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import {
  decideInbound,
  decideMesh,
  type EndpointBalancer,
  ErrorCode,
  forwardToEndpoint,
  type OpenedStream,
  LocalStream,
  refuseTunnel,
  TUNNEL_HEADER,
  type TunnelAccess,
  type TunnelAsked,
  type TunnelRequest,
} from "../../gateway/dataplane/index.ts";
import type { MeshServices } from "./mesh.ts";

/**
 * The last hop: the cluster's own gateway hands over a stream for one endpoint. The caller is judged once more from its own
 * token, so that even a gateway that was taken over cannot speak for a workload that did not call.
 */
export function createInbound(
  access: TunnelAccess,
  endpoints: EndpointBalancer,
  trustDomain: TrustDomain,
  mesh?: MeshServices,
) {
  return (request: TunnelRequest): void => {
    const { stream, headers, peer } = request;
    const named = headers[TUNNEL_HEADER.service];
    const asked = typeof named === "string" ? parseServiceAuthority(named) : undefined;
    if (asked === undefined) {
      return access.refuse(
        request,
        { kind: "inbound" },
        problem("no_route", "isthmus-service names no service"),
      );
    }
    const { port } = asked;
    const service = { namespace: asked.namespace, name: asked.name };
    const target = {
      kind: "inbound",
      service,
      port,
      audience: serviceAudience(trustDomain, service),
    } as const;
    // Without such services there is nothing that another agent has to bring, and it is refused like any stranger.
    const isFellow = peer.spiffeId.trustDomain === trustDomain && systemRole(peer.spiffeId) === "agent";
    if (mesh !== undefined && isFellow) return answerMesh(request, access, target, mesh);
    // A gateway asks for a workload of its own cluster, with nothing to send: no caller stands behind it.
    if (headers[TUNNEL_HEADER.probe] !== undefined && headers[TUNNEL_HEADER.caller] === undefined)
      return answerProbe(request, trustDomain, (endpoint) => whyNotDialled(endpoints, asked, endpoint, mesh));
    const granted = access.grant(request, target, (tables, caller) =>
      decideInbound(tables, peer.spiffeId, service, port, caller),
    );
    if (granted === undefined) return;
    const endpoint = headers[":authority"] ?? "";
    const wrong = whyNotDialled(endpoints, asked, endpoint, mesh);
    if (wrong !== undefined) return refuseTunnel(stream, wrong);
    forwardToEndpoint(stream, { address: endpoint, release: () => {} }, granted);
  };
}

/**
 * Only addresses that the service really has: a tunnel must not become a way to dial anything on this node. And none of another
 * node where its namespace is strict, since the bytes would go there plainly: the gateway tries the agent beside it, or another endpoint.
 */
export function whyNotDialled(
  endpoints: EndpointBalancer,
  service: ServiceName & { readonly port: number },
  endpoint: string,
  mesh: Pick<MeshServices, "node" | "isStrict"> | undefined,
): Problem | undefined {
  const key = `${serviceKey(service)}:${service.port}`;
  const found = endpoints.find(key, endpoint);
  if (found === undefined) return problem("no_endpoint", `${endpoint} is no endpoint of ${key}`);
  if (mesh === undefined || found.node === mesh.node || !mesh.isStrict(service)) return undefined;
  const detail = `${endpoint} is beside another agent, and ${service.namespace} is strict`;
  return problem("endpoint_unreachable", detail);
}

/** The agent of another node brings a call to a pod of this one. */
function answerMesh(
  request: TunnelRequest,
  access: TunnelAccess,
  target: TunnelAsked,
  mesh: MeshServices,
): void {
  const { stream, headers, peer } = request;
  const { service, port } = target;
  const granted = access.grant(request, target, (tables, caller) =>
    decideMesh(tables, peer.spiffeId, service, port, caller),
  );
  if (granted === undefined) return;
  const endpoint = headers[":authority"] ?? "";
  const isHere = mesh.endpoints(service, port).some(({ address, local }) => local && address === endpoint);
  if (!isHere)
    return refuseTunnel(
      stream,
      problem("no_endpoint", `${endpoint} is no endpoint of ${serviceKey(service)}:${port} on this node`),
    );
  forwardToEndpoint(stream, { address: endpoint, release: () => {} }, granted);
}

/** Says whether the endpoint accepts a connection, which is closed at once. */
function answerProbe(
  { stream, headers, peer }: TunnelRequest,
  trustDomain: TrustDomain,
  whyNot: (endpoint: string) => Problem | undefined,
): void {
  const endpoint = headers[":authority"] ?? "";
  const isOwnGateway = peer.spiffeId.trustDomain === trustDomain && systemRole(peer.spiffeId) === "gateway";
  if (!isOwnGateway)
    return refuseTunnel(stream, problem("peer_role", "only the cluster's own gateways probe"));
  const wrong = whyNot(endpoint);
  if (wrong !== undefined) return refuseTunnel(stream, wrong);
  const dialled: OpenedStream = new LocalStream(endpoint);
  dialled.once("response", (answer) => {
    if (answer[":status"] === 200) stream.respond({ ":status": 200 }, { endStream: true });
    else refuseTunnel(stream, problem("endpoint_unreachable", endpoint));
    dialled.close(ErrorCode.cancel);
  });
  stream.once("close", () => dialled.close(ErrorCode.cancel));
}
