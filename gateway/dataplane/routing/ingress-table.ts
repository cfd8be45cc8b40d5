import type { ExternalPath } from "../../../federation/model/egress-policy.ts";
import type { OutsideIngress } from "../../../federation/model/ingress.ts";
import { serviceKey, type ServiceName } from "../../../federation/model/service.ts";
import type { SnapshotExport, SnapshotIngress } from "../../../federation/model/snapshot.ts";
import { hasTwoReadings } from "../policy/path-readings.ts";

/** One host and path prefix that leads to one port of one exported service. */
export interface IngressRule {
  readonly service: ServiceName;
  readonly port: number;
  readonly path: ExternalPath;
  readonly tls: OutsideIngress["tls"];
  /** Its endpoints were declared to speak HTTP/2 (gRPC) without TLS. */
  readonly http2: boolean;
}

/** By host name; the narrowest path first. */
export type IngressTable = ReadonlyMap<string, readonly IngressRule[]>;

const EVERY_PATH: ExternalPath = { type: "PathPrefix", value: "/" };

/** Names of `appProtocol` for HTTP/2 by prior knowledge (KEP-3726, and the words that people use). */
const HTTP2: ReadonlySet<string> = new Set(["kubernetes.io/h2c", "h2c", "http2", "grpc"]);

export function compileIngress(
  rules: readonly SnapshotIngress[] = [],
  exported: readonly SnapshotExport[] = [],
): IngressTable {
  const http2 = new Set(
    exported.flatMap((service) =>
      service.ports
        .filter(({ appProtocol }) => appProtocol !== undefined && HTTP2.has(appProtocol.toLowerCase()))
        .map(({ port }) => `${serviceKey(service)}:${port}`),
    ),
  );
  const table = new Map<string, IngressRule[]>();
  for (const { namespace, name, hostnames, paths = [EVERY_PATH], port, tls } of rules) {
    for (const hostname of hostnames) {
      const list = table.get(hostname) ?? [];
      table.set(hostname, list);
      const service = { namespace, name };
      const speaksHttp2 = http2.has(`${serviceKey(service)}:${port}`);
      for (const path of paths) list.push({ service, port, path, tls, http2: speaksHttp2 });
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

/** Whether all that a host leads to speaks HTTP/2: only then is it offered, since requests are not translated downwards. */
export function offersHttp2(table: IngressTable, host: string): boolean {
  return table.get(host)?.every(({ http2 }) => http2) === true;
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
