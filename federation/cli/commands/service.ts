import type { ExportConsumer, ServiceExportResource, ServiceImportResource } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import { type ServiceName, serviceKey } from "../../model/service.ts";
import { connect } from "../connection.ts";
import type { Failure } from "../failure.ts";
import { type Command, type Invocation, usage } from "../invocation.ts";
import type { RegistryClient } from "../registry-client.ts";
import { applyAndTell, requireCluster } from "./change.ts";
import { parseServiceName } from "./reference.ts";

/** Adds consumers to what is exported already; a consumer named again gets the new list of workloads. */
export const exportService: Command = async (invocation) => {
  const { terminal, flags } = invocation;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry, connection } = connected.value;
  const named = readNames(invocation, connection.cluster);
  if (!named.ok) return named;
  const { service, cluster } = named.value;
  const to = flags
    .list("to")
    .flatMap((text) => text.split(","))
    .filter(Boolean);
  if (to.length === 0) return usage("to whom?", "pass --to <cluster>");
  const workloads = flags
    .list("workload")
    .flatMap((text) => text.split(","))
    .filter(Boolean);
  const existing = await findExport(registry, cluster, service);
  if (!existing.ok) return existing;
  const added = to.map((name) => (workloads.length === 0 ? { cluster: name } : { cluster: name, workloads }));
  const resource: ServiceExportResource = {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: { cluster, ...service, ...versionOf(existing.value) },
    spec: { consumers: mergeConsumers(existing.value?.spec.consumers ?? [], added) },
  };
  const next = to.map(
    (name) => `${terminal.program} service import ${serviceKey(service)} --from ${cluster} --cluster ${name}`,
  );
  return applyAndTell(invocation, registry, [resource], next);
};

export const importService: Command = async (invocation) => {
  const { terminal, flags } = invocation;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry, connection } = connected.value;
  const named = readNames(invocation, connection.cluster);
  if (!named.ok) return named;
  const { service, cluster } = named.value;
  const [from, ...also] = flags.text("from")?.split(",").filter(Boolean) ?? [];
  if (from === undefined) return usage("from whom?", "pass --from <cluster>");
  const alias = flags.text("as");
  const local = alias === undefined ? service : parseServiceName(alias);
  if (local === undefined)
    return usage(`"${alias}" is not a service`, "write name.namespace, such as basket.shop");
  const resource: ServiceImportResource = {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceImport",
    metadata: { cluster, ...local },
    spec: {
      from: {
        cluster: from,
        ...(also.length === 0 ? {} : { also }),
        ...(serviceKey(local) === serviceKey(service) ? {} : service),
      },
    },
  };
  const next = [`${terminal.program} service list`, `${terminal.program} check`];
  return applyAndTell(invocation, registry, [resource], next);
};

function readNames(
  { args }: Invocation,
  cluster: string | undefined,
): Result<{ readonly service: ServiceName; readonly cluster: string }, Failure> {
  const [text = ""] = args;
  const service = parseServiceName(text);
  if (service === undefined)
    return usage(`"${text}" is not a service`, "write name.namespace, such as cart.shop");
  const owner = requireCluster(cluster);
  return owner.ok ? ok({ service, cluster: owner.value }) : owner;
}

async function findExport(
  registry: RegistryClient,
  cluster: string,
  service: ServiceName,
): Promise<Result<ServiceExportResource | undefined, Failure>> {
  const found = await registry.list({ kind: "ServiceExport", cluster, ...service });
  if (!found.ok) return found;
  return ok(
    found.value.items.find(
      (item): item is Extract<typeof item, { kind: "ServiceExport" }> => item.kind === "ServiceExport",
    ),
  );
}

/** Written back as a condition: whoever changed the export meanwhile is not overwritten. */
function versionOf(existing: ServiceExportResource | undefined): { readonly resourceVersion?: number } {
  const version = existing?.metadata.resourceVersion;
  return version === undefined ? {} : { resourceVersion: version };
}

export function mergeConsumers(
  existing: readonly ExportConsumer[],
  added: readonly ExportConsumer[],
): readonly ExportConsumer[] {
  const replaced = new Set(added.map((consumer) => consumer.cluster));
  return [...existing.filter((consumer) => !replaced.has(consumer.cluster)), ...added];
}
