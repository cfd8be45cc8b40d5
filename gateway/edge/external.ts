import { problem } from "../../federation/model/problem.ts";
import { type SpiffeId, systemRole } from "../../federation/model/spiffe-id.ts";
import type { Engine, ExternalGate, TunnelAccess, TunnelRequest } from "../dataplane/index.ts";
import { externalAudience, readWay, TUNNEL_HEADER } from "../dataplane/index.ts";

/** Where tunnels of this cluster's own agents leave the federation: judged by the caller that its token proves. */
export function createExternal(engine: Engine, access: TunnelAccess, gate: ExternalGate) {
  return (request: TunnelRequest): void => {
    const { stream, headers, peer } = request;
    const tables = engine.tables.current;
    if (tables === undefined)
      return access.refuse(request, {}, problem("snapshot_missing", "this gateway has no snapshot yet"));
    if (!isOwnAgent(peer.spiffeId, tables.trustDomain))
      return access.refuse(
        request,
        {},
        problem("peer_role", `${peer.spiffeId.uri} is no agent of this cluster: it may not leave here`),
      );
    const way = readWay(headers);
    if ("name" in way) return access.refuse(request, {}, way);
    const token = headers[TUNNEL_HEADER.caller];
    const { trust, now } = engine.tunnels;
    const verified = engine.callers.verify(
      typeof token === "string" ? token : undefined,
      externalAudience(tables.trustDomain),
      trust.current,
      now(),
    );
    if (!verified.ok) return access.refuse(request, {}, verified.error);
    stream.respond({ ":status": 200 });
    gate.accept(stream, verified.value, way);
  };
}

function isOwnAgent(peer: SpiffeId, trustDomain: string): boolean {
  return peer.trustDomain === trustDomain && systemRole(peer) === "agent";
}
