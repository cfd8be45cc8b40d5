import { type Problem, problem } from "../../../federation/model/problem.ts";
import {
  parseServiceAuthority,
  serviceAudience,
  type ServiceName,
  serviceKey,
} from "../../../federation/model/service.ts";
import { type SpiffeId, systemRole, type TrustDomain } from "../../../federation/model/spiffe-id.ts";
import {
  authorizeArrival,
  authorizeExport,
  authorizeImport,
  authorizeMesh,
  type Permit,
} from "../policy/authorize.ts";
import { type ExportRoute, importOf, type ImportSource, type RouteTables } from "./tables.ts";

/** What is needed to carry bytes towards a service of another cluster, or of our own. */
export interface EntryForward {
  readonly kind: "forward";
  /** The same for equal destinations, authorities and versions, whatever the revision: streams are kept by it. */
  readonly id: string;
  /** In our own cluster. */
  readonly local: boolean;
  /** Its local name. */
  readonly service: ServiceName;
  readonly port: number;
  readonly destination: TrustDomain;
  /** Tunnel `:authority`. */
  readonly authority: string;
  readonly audience: string;
  /** Only endpoints of this version will do. */
  readonly version?: string;
  /** Rather this endpoint than another, by the name that its gateway gives it. */
  readonly endpoint?: string;
  readonly permit: Permit;
}

export interface Refuse {
  readonly kind: "refuse";
  readonly problem: Problem;
  /** When it is worth trying again, in seconds. */
  readonly retryAfterS?: number;
}

export type EntryDecision = EntryForward | Refuse;

/**
 * Where a workload's own bytes enter the mesh: the caller and the service are those of the local address it used. Answers
 * every cluster that the caller may use, our own first, or why there is none.
 */
export function decideSources(
  tables: RouteTables | undefined,
  caller: SpiffeId,
  service: ServiceName,
  port: number,
): readonly EntryForward[] | Refuse {
  if (tables === undefined) return refuse("snapshot_missing", "still waiting for the first snapshot");
  const route = importOf(tables, service);
  if (route === undefined)
    return refuse("not_imported", `${serviceKey(service)} is not imported in ${tables.cluster}`);
  const decisions = route.sources.map((source) => decideImport(tables, source, caller, port));
  const permitted = decisions.filter((decision) => decision.kind === "forward");
  if (permitted.length > 0) return permitted;
  return decisions.find((decision) => decision.kind === "refuse") ?? refuse("no_route", "no source");
}

/** One source, for one caller. */
export function decideImport(
  tables: RouteTables,
  source: ImportSource,
  caller: SpiffeId,
  port: number,
): EntryDecision {
  if (caller.trustDomain !== tables.trustDomain) {
    return refuse("caller_token_invalid", `${caller.uri} is not a workload of this cluster`);
  }
  if (!source.ports.has(port)) return refuse("no_route", `${serviceKey(source.rule)} has no port ${port}`);
  const leaving = authorizeImport(source, tables.egress, caller);
  if (leaving.kind === "denied") return { kind: "refuse", problem: leaving.problem };
  // What arrives in our own cluster is judged as such at once; elsewhere its owner does.
  const verdict = source.local
    ? authorizeArrival(leaving.permit, tables.authorization, source.rule.from, port)
    : leaving;
  if (verdict.kind === "denied") return { kind: "refuse", problem: verdict.problem };
  const { trustDomain } = source.rule.from;
  const authority = `${source.host}:${port}`;
  return {
    kind: "forward",
    id: `${trustDomain} ${authority}`,
    local: source.local,
    service: source.rule,
    port,
    destination: trustDomain,
    authority,
    audience: source.audience,
    permit: verdict.permit,
  };
}

/** The same target, of one version only. */
export function ofVersion(target: EntryForward, version: string): EntryForward {
  return { ...target, id: `${target.id} ${version}`, version };
}

/** The same target, rather at that endpoint. */
export function ofEndpoint(target: EntryForward, endpoint: string): EntryForward {
  return { ...target, id: `${target.id} @${endpoint}`, endpoint };
}

/** Whether what was permitted once still is, by the rules in force now. */
export function recheckTarget(tables: RouteTables | undefined, target: EntryForward): Problem | undefined {
  if (tables === undefined) return problem("snapshot_missing", "still waiting for the first snapshot");
  const { caller } = target.permit;
  const sources = decideSources(tables, caller, target.service, target.port);
  if ("kind" in sources) return sources.problem;
  return sources.some(({ audience }) => audience === target.audience)
    ? undefined
    : problem("not_imported", `${target.audience} is not imported in ${tables.cluster}`);
}

/** A tunnel request before its caller token was looked at: where it wants to go and which audience the token must name. */
export interface TunnelTarget {
  readonly kind: "egress" | "ingress";
  readonly service: ServiceName;
  readonly port: number;
  readonly audience: string;
}

export interface TunnelAsk {
  readonly peer: SpiffeId;
  readonly authority: string;
  /** `isthmus-destination`: the trust domain that the entry chose. */
  readonly destination: string | undefined;
}

/**
 * Direction follows from who asks: our own agents go out, gateways of other clusters come in, nobody else may ask. So an
 * outside peer can never use this gateway to reach a third cluster.
 */
export function selectTunnel(tables: RouteTables | undefined, ask: TunnelAsk): TunnelTarget | Refuse {
  if (tables === undefined) return refuse("snapshot_missing", "this gateway has no snapshot yet");
  const service = parseServiceAuthority(ask.authority);
  if (service === undefined)
    return refuse("no_route", "the tunnel's authority is not a clusterset service with a port");
  const role = systemRole(ask.peer);
  const own = ask.peer.trustDomain === tables.trustDomain;
  const { namespace, name, port } = service;
  if (own && role === "agent") {
    if (ask.destination === undefined) return refuse("no_route", "isthmus-destination is missing");
    const audience = serviceAudience(ask.destination as TrustDomain, service);
    return { kind: "egress", service: { namespace, name }, port, audience };
  }
  if (!own && role === "gateway") {
    const audience = serviceAudience(tables.trustDomain, service);
    return { kind: "ingress", service: { namespace, name }, port, audience };
  }
  return refuse(
    "peer_role",
    `${ask.peer.uri} is neither an agent of this cluster nor a gateway of another one`,
  );
}

export type EgressDecision = EntryDecision;

/** Egress gateway: the same rules as at the entry, on the caller that the token proves. */
export function decideEgress(tables: RouteTables, target: TunnelTarget, caller: SpiffeId): EgressDecision {
  return decideAudience(tables, target.audience, target.port, caller);
}

function decideAudience(
  tables: RouteTables,
  audience: string,
  port: number,
  caller: SpiffeId,
): EgressDecision {
  let decision: EgressDecision = refuse("not_imported", `${audience} is not imported in ${tables.cluster}`);
  // A tunnel does not say by which of several local names its service was called: one that permits is enough.
  for (const source of tables.importsByAudience.get(audience) ?? []) {
    decision = decideImport(tables, source, caller, port);
    if (decision.kind === "forward") return decision;
  }
  return decision;
}

export interface ServiceForward {
  readonly kind: "forward";
  readonly service: ServiceName;
  readonly port: number;
  readonly permit: Permit;
}

/** Ingress gateway: `peer` is the gateway at the other end of this connection, `caller` the workload behind it. */
export function decideIngress(
  tables: RouteTables,
  target: TunnelTarget,
  caller: SpiffeId,
  peer: SpiffeId,
): ServiceForward | Refuse {
  if (caller.trustDomain !== peer.trustDomain) {
    return refuse("caller_token_invalid", `${peer.uri} speaks for ${caller.uri} of another trust domain`);
  }
  return decideExport(tables, target.service, target.port, caller);
}

/** Inbound agent: only the cluster's own gateways may deliver, and the caller is judged again. */
export function decideInbound(
  tables: RouteTables | undefined,
  peer: SpiffeId,
  service: ServiceName,
  port: number,
  caller: SpiffeId,
): ServiceForward | Refuse {
  if (tables === undefined) return refuse("snapshot_missing", "this agent has no snapshot yet");
  if (peer.trustDomain !== tables.trustDomain || systemRole(peer) !== "gateway") {
    return refuse("peer_role", `${peer.uri} is not a gateway of this cluster`);
  }
  return decideExport(tables, service, port, caller);
}

/**
 * A call inside the cluster, where it arrives: `peer` is the agent of the caller's node, `undefined` where that is this one. The
 * service need not be exported.
 */
export function decideMesh(
  tables: RouteTables | undefined,
  peer: SpiffeId | undefined,
  service: ServiceName,
  port: number,
  caller: SpiffeId,
): ServiceForward | Refuse {
  if (tables === undefined) return refuse("snapshot_missing", "this agent has no snapshot yet");
  if (peer !== undefined && (peer.trustDomain !== tables.trustDomain || systemRole(peer) !== "agent"))
    return refuse("peer_role", `${peer.uri} is not an agent of this cluster`);
  if (caller.trustDomain !== tables.trustDomain)
    return refuse("caller_token_invalid", `${caller.uri} is not a workload of this cluster`);
  const verdict = authorizeMesh(caller, tables.authorization, service, port);
  if (verdict.kind === "denied") return { kind: "refuse", problem: verdict.problem };
  return { kind: "forward", service, port, permit: verdict.permit };
}

function decideExport(
  tables: RouteTables,
  service: ServiceName,
  port: number,
  caller: SpiffeId,
): ServiceForward | Refuse {
  if (caller.trustDomain === tables.trustDomain) return decideOwn(tables, service, port, caller);
  const route: ExportRoute | undefined = tables.exports.get(serviceKey(service));
  if (route === undefined)
    return refuse("not_exported", `${tables.cluster} does not export ${serviceKey(service)}`);
  if (!route.ports.has(port)) return refuse("no_route", `${serviceKey(service)} has no port ${port}`);
  const exported = authorizeExport(route, caller);
  if (exported.kind === "denied") return { kind: "refuse", problem: exported.problem };
  const verdict = authorizeArrival(exported.permit, tables.authorization, service, port);
  if (verdict.kind === "denied") return { kind: "refuse", problem: verdict.problem };
  return { kind: "forward", service, port, permit: verdict.permit };
}

/** Our own workload and our own service: the cluster has taken itself as a source of the import. */
function decideOwn(
  tables: RouteTables,
  service: ServiceName,
  port: number,
  caller: SpiffeId,
): ServiceForward | Refuse {
  const decision = decideAudience(tables, serviceAudience(tables.trustDomain, service), port, caller);
  return decision.kind === "refuse" ? decision : { kind: "forward", service, port, permit: decision.permit };
}

export function refuse(name: Problem["name"], detail: string): Refuse {
  return { kind: "refuse", problem: problem(name, detail) };
}
