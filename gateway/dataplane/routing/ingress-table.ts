import type { ExternalPath } from "../../../federation/model/egress-policy.ts";
import type { OutsideIngress } from "../../../federation/model/ingress.ts";
import type { ServiceName } from "../../../federation/model/service.ts";
import type { SnapshotIngress } from "../../../federation/model/snapshot.ts";
import { hasTwoReadings } from "../policy/path-readings.ts";

/** One host and path prefix that leads to one port of one exported service. */
export interface IngressRule {
  readonly service: ServiceName;
  readonly port: number;
  readonly path: ExternalPath;
  readonly tls: OutsideIngress["tls"];
}

/** By host name; the narrowest path first. */
export type IngressTable = ReadonlyMap<string, readonly IngressRule[]>;

const EVERY_PATH: ExternalPath = { type: "PathPrefix", value: "/" };

export function compileIngress(rules: readonly SnapshotIngress[] = []): IngressTable {
  const table = new Map<string, IngressRule[]>();
  for (const { namespace, name, hostnames, paths = [EVERY_PATH], port, tls } of rules) {
    for (const hostname of hostnames) {
      const list = table.get(hostname) ?? [];
      table.set(hostname, list);
      for (const path of paths) list.push({ service: { namespace, name }, port, path, tls });
    }
  }
  for (const list of table.values()) list.sort(narrowerFirst);
  return table;
}

/** Exact before prefix, longer before shorter, as in the Gateway API's HTTPRoute. */
function narrowerFirst(a: IngressRule, b: IngressRule): number {
  const exact = Number(b.path.type === "Exact") - Number(a.path.type === "Exact");
  return exact || b.path.value.length - a.path.value.length;
}

export function selectIngress(table: IngressTable, host: string, target: string): IngressRule | undefined {
  const end = target.search(/[?#]/);
  const path = end === -1 ? target : target.slice(0, end);
  const rules = table.get(host);
  if (rules === undefined) return undefined;
  // Behind `/cart/../admin` the service may see another path than the one that was opened.
  const isPlain = !hasTwoReadings(path);
  return rules.find((rule) => (isPlain || rule.path.value === "/") && fits(rule.path, path));
}

function fits({ type, value }: ExternalPath, path: string): boolean {
  if (path === value) return true;
  return type === "PathPrefix" && path.startsWith(value.endsWith("/") ? value : `${value}/`);
}
