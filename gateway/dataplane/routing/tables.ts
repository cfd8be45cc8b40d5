import type { Snapshot, SnapshotExport, SnapshotImport } from "../../../federation/model/snapshot.ts";
import {
  clustersetHost,
  type ServiceName,
  type ServicePort,
  serviceAudience,
  serviceKey,
} from "../../../federation/model/service.ts";
import { compileEgress, type EgressTable } from "../policy/egress-table.ts";
import type { TrustDomain } from "../../../federation/model/spiffe-id.ts";

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
  readonly importsByAudience: ReadonlyMap<string, readonly ImportRoute[]>;
  /** By `cart.shop`. */
  readonly exports: ReadonlyMap<string, ExportRoute>;
  readonly egress: EgressTable;
}

export interface ImportRoute {
  readonly rule: SnapshotImport;
  readonly ports: ReadonlyMap<number, ServicePort>;
  readonly audience: string;
  /** `cart.shop.svc.clusterset.local`, by the owner's name of it. */
  readonly host: string;
}

export interface ExportRoute {
  readonly rule: SnapshotExport;
  readonly ports: ReadonlyMap<number, ServicePort>;
  readonly audience: string;
}

export function compileTables(snapshot: Snapshot): RouteTables {
  const imports = new Map<string, ImportRoute>();
  const importsByAudience = new Map<string, ImportRoute[]>();
  for (const rule of snapshot.imports) {
    const audience = serviceAudience(rule.from.trustDomain, rule.from);
    const route = { rule, ports: portMap(rule.ports), audience, host: clustersetHost(rule.from) };
    imports.set(serviceKey(rule), route);
    importsByAudience.set(audience, [...(importsByAudience.get(audience) ?? []), route]);
  }
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
    egress: compileEgress(snapshot.egress),
  };
}

function portMap(ports: readonly ServicePort[]): ReadonlyMap<number, ServicePort> {
  return new Map(ports.map((port) => [port.port, port]));
}

export function importOf(tables: RouteTables, service: ServiceName): ImportRoute | undefined {
  return tables.imports.get(serviceKey(service));
}
