import {
  type Resource,
  type ServiceExportResource,
  type ServiceImportResource,
  type ServiceResource,
  sourceClusters,
  type WithStatus,
} from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { serviceKey } from "../../model/service.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { importedService } from "../input/file-index.ts";
import { type Command, hint } from "../invocation.ts";
import { renderListing } from "../output/format.ts";
import { conditionMessage, conditionWord } from "./condition.ts";

/** One service as one cluster sees it: its own, or one that it imports. */
export interface ServiceRow {
  readonly cluster: string;
  /** `cart.shop` */
  readonly service: string;
  readonly ports: readonly string[];
  /** Absent: the service is the cluster's own. */
  readonly importedFrom?: string;
  readonly exportedTo: readonly string[];
  readonly importedBy: readonly string[];
  /** `Ready`, `Valid`, or the reason why not; `-` for a service that nobody exports. */
  readonly status: string;
  readonly message: string;
}

export const list: Command = async (invocation) => {
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry } = connected.value;
  const [services, exports, imports] = await Promise.all([
    registry.list({ kind: "Service" }),
    registry.list({ kind: "ServiceExport" }),
    registry.list({ kind: "ServiceImport" }),
  ]);
  if (!services.ok) return services;
  if (!exports.ok) return exports;
  if (!imports.ok) return imports;
  const wanted = invocation.flags.text("cluster");
  const rows = serviceRows([...services.value.items, ...exports.value.items, ...imports.value.items]);
  const items = rows.filter((row) => wanted === undefined || row.cluster === wanted);
  invocation.terminal.out(
    renderListing<ServiceRow>(invocation.format, {
      kind: "ServiceView",
      items,
      columns: COLUMNS,
      name: rowName,
    }),
  );
  if (items.length === 0)
    hint(invocation, "next", "start a gateway with a services file: its services appear here");
  return ok(EXIT.yes);
};

const COLUMNS = [
  { head: "CLUSTER", cell: (row: ServiceRow) => row.cluster },
  { head: "SERVICE", cell: (row: ServiceRow) => row.service },
  { head: "PORTS", cell: (row: ServiceRow) => joined(row.ports) },
  { head: "IMPORTED FROM", cell: (row: ServiceRow) => row.importedFrom ?? "-" },
  { head: "EXPORTED TO", cell: (row: ServiceRow) => joined(row.exportedTo) },
  { head: "IMPORTED BY", cell: (row: ServiceRow) => joined(row.importedBy) },
  { head: "STATUS", cell: (row: ServiceRow) => row.status },
  { head: "MESSAGE", cell: (row: ServiceRow) => row.message, wide: true as const },
];

function rowName(row: ServiceRow): string {
  const [name, namespace] = row.service.split(".");
  return `${row.importedFrom === undefined ? "service" : "serviceimport"}/${row.cluster}/${namespace}/${name}`;
}

/** Own services first, exports of services that are missing among them; then imports. Sorted by cluster and name. */
export function serviceRows(resources: readonly WithStatus<Resource>[]): readonly ServiceRow[] {
  const services = resources.filter((item): item is WithStatus<ServiceResource> => item.kind === "Service");
  const exports = resources.filter(
    (item): item is WithStatus<ServiceExportResource> => item.kind === "ServiceExport",
  );
  const imports = resources.filter(
    (item): item is WithStatus<ServiceImportResource> => item.kind === "ServiceImport",
  );
  const known = new Map(services.map((item) => [keyOf(item.metadata), item]));
  const owned = [...services, ...exports.filter((item) => !known.has(keyOf(item.metadata)))];
  const shared = {
    exports: new Map(exports.map((item) => [keyOf(item.metadata), item])),
    importers: importersOf(imports),
  };
  const rows = [
    ...owned.map(({ metadata }) => ownRow(metadata, known, shared)),
    ...imports.map((item) => importRow(item, known)),
  ];
  return rows.toSorted((a, b) => compare(a.cluster, b.cluster) || compare(a.service, b.service));
}

interface Name {
  readonly cluster: string;
  readonly namespace: string;
  readonly name: string;
}

/** By the service at its owner. */
interface Shared {
  readonly exports: ReadonlyMap<string, WithStatus<ServiceExportResource>>;
  readonly importers: ReadonlyMap<string, readonly string[]>;
}

/** The clusters that import each service, one entry for each import. */
function importersOf(imports: readonly ServiceImportResource[]): Shared["importers"] {
  const importers = new Map<string, string[]>();
  for (const item of imports) {
    for (const cluster of new Set(sourceClusters(item))) {
      const key = keyOf({ cluster, ...importedService(item) });
      const known = importers.get(key);
      if (known === undefined) importers.set(key, [item.metadata.cluster]);
      else known.push(item.metadata.cluster);
    }
  }
  return importers;
}

function ownRow(
  metadata: Name,
  services: ReadonlyMap<string, ServiceResource>,
  { exports, importers }: Shared,
): ServiceRow {
  const key = keyOf(metadata);
  const exported = exports.get(key);
  return {
    cluster: metadata.cluster,
    service: serviceKey(metadata),
    ports: portsOf(services.get(key)),
    exportedTo: exported?.spec.consumers.map((consumer) => consumer.cluster) ?? [],
    importedBy: importers.get(key) ?? [],
    status: exported === undefined ? "-" : conditionWord(exported.status.conditions),
    message: exported === undefined ? "" : conditionMessage(exported.status.conditions),
  };
}

function importRow(
  item: WithStatus<ServiceImportResource>,
  services: ReadonlyMap<string, ServiceResource>,
): ServiceRow {
  const origin = importedService(item);
  const from = item.spec.from.cluster;
  const renamed = serviceKey(origin) === serviceKey(item.metadata) ? "" : ` (${serviceKey(origin)})`;
  return {
    cluster: item.metadata.cluster,
    service: serviceKey(item.metadata),
    ports: portsOf(services.get(keyOf({ cluster: from, ...origin }))),
    importedFrom: `${sourceClusters(item).join(",")}${renamed}`,
    exportedTo: [],
    importedBy: [],
    status: conditionWord(item.status.conditions),
    message: conditionMessage(item.status.conditions),
  };
}

function portsOf(service: ServiceResource | undefined): readonly string[] {
  return service?.spec.ports.map(({ port, protocol }) => `${port}/${protocol}`) ?? [];
}

function keyOf({ cluster, namespace, name }: Name): string {
  return `${cluster}/${namespace}/${name}`;
}

function joined(words: readonly string[]): string {
  return words.length === 0 ? "-" : words.join(",");
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
