import type { Snapshot, SnapshotExport, SnapshotImport } from "../../../federation/model/snapshot.ts";
import { compileIngress, type IngressTable } from "./ingress-table.ts";
import {
  clustersetHost,
  type ServiceName,
  type ServicePort,
  serviceAudience,
  serviceKey,
} from "../../../federation/model/service.ts";
import { AuthorizationTable } from "../policy/authorization-table.ts";
import { compileEgress, type EgressTable } from "../policy/egress-table.ts";
import { compileRuleTables, type RuleTables } from "../policy/rule-tables.ts";
import type { TrustDomain } from "../../../federation/model/spiffe-id.ts";
import { compileServiceRoutes, type ServiceRoutes } from "./service-routes.ts";

/** A snapshot arranged for look-ups; built once per revision, so that a request's cost does not grow with the federation. */
export interface RouteTables {
  readonly revision: number;
  readonly cluster: string;
  readonly trustDomain: TrustDomain;
  /** By local name, `cart.shop`. */
  readonly imports: ReadonlyMap<string, ImportRoute>;
  /**
   * By audience, `east.acme.mesh/shop/cart`: what a tunnel from our own agent asks for. More than one where aliases stand for
   * the same service.
   */
  readonly importsByAudience: ReadonlyMap<string, readonly ImportSource[]>;
  /** By `cart.shop`. */
  readonly exports: ReadonlyMap<string, ExportRoute>;
  /** Of imported services, by `cart.shop`. */
  readonly routes: ReadonlyMap<string, ServiceRoutes>;
  readonly egress: EgressTable;
  /** Who may call the cluster's own services. */
  readonly authorization: AuthorizationTable;
  /** By host name: where callers from outside are led. */
  readonly ingress: IngressTable;
  /** By local name. */
  readonly rules: RuleTables;
}

/** One local name, and every cluster that stands behind it. */
export interface ImportRoute {
  readonly service: ServiceName;
  /** Never empty; our own cluster's first. */
  readonly sources: readonly ImportSource[];
  /** Of all sources; a port that two of them describe differently is as the first one says. */
  readonly ports: ReadonlyMap<number, ServicePort>;
}

/** A service of one cluster that stands behind a local name. */
export interface ImportSource {
  readonly rule: SnapshotImport;
  readonly ports: ReadonlyMap<number, ServicePort>;
  readonly audience: string;
  /** `cart.shop.svc.clusterset.local`, by the owner's name of it. */
  readonly host: string;
  /** Our own cluster's. */
  readonly local: boolean;
}

export interface ExportRoute {
  readonly rule: SnapshotExport;
  readonly ports: ReadonlyMap<number, ServicePort>;
  readonly audience: string;
}

export function compileTables(snapshot: Snapshot): RouteTables {
  const sources = new Map<string, ImportSource[]>();
  const importsByAudience = new Map<string, ImportSource[]>();
  for (const rule of snapshot.imports) {
    const source = importSource(rule, snapshot.trustDomain);
    append(sources, serviceKey(rule), source);
    append(importsByAudience, source.audience, source);
  }
  const imports = new Map([...sources].map(([key, all]) => [key, importRoute(all)]));
  const exports = new Map<string, ExportRoute>();
  for (const rule of snapshot.exports) {
    const audience = serviceAudience(snapshot.trustDomain, rule);
    exports.set(serviceKey(rule), { rule, ports: portMap(rule.ports), audience });
  }
  return {
    revision: snapshot.revision,
    cluster: snapshot.cluster,
    trustDomain: snapshot.trustDomain,
    imports,
    importsByAudience,
    exports,
    routes: compileServiceRoutes(snapshot),
    egress: compileEgress(snapshot.egress),
    authorization: new AuthorizationTable(snapshot.authorization ?? []),
    ingress: compileIngress(snapshot.ingress, snapshot.exports),
    rules: compileRuleTables(snapshot),
  };
}

function importSource(rule: SnapshotImport, own: TrustDomain): ImportSource {
  return {
    rule,
    ports: portMap(rule.ports),
    audience: serviceAudience(rule.from.trustDomain, rule.from),
    host: clustersetHost(rule.from),
    local: rule.from.trustDomain === own,
  };
}

function importRoute(all: readonly ImportSource[]): ImportRoute {
  const sources = [...all].sort((a, b) => Number(b.local) - Number(a.local));
  const ports = new Map<number, ServicePort>();
  for (const source of sources)
    for (const [number, port] of source.ports) if (!ports.has(number)) ports.set(number, port);
  const { namespace, name } = (sources[0] as ImportSource).rule;
  return { service: { namespace, name }, sources, ports };
}

function append<V>(map: Map<string, V[]>, key: string, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

function portMap(ports: readonly ServicePort[]): ReadonlyMap<number, ServicePort> {
  return new Map(ports.map((port) => [port.port, port]));
}

export function importOf(tables: RouteTables, service: ServiceName): ImportRoute | undefined {
  return tables.imports.get(serviceKey(service));
}
