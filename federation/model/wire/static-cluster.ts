import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { Result } from "../result.ts";
import { portProtocolOf } from "../service.ts";
import type { StaticCluster, StaticService, StaticWorkload } from "../static-cluster.ts";
import { alsoCheck, decode, textField, uniqueBy } from "./decode.ts";
import {
  address,
  apiVersion,
  appProtocol,
  label,
  port,
  portProtocol,
  subdomain,
  version,
  workloadNamespace,
} from "./fields.ts";

const MAX_WORKLOADS = 5_000;
const MAX_SERVICES = 256;
const MAX_ENDPOINTS = 1_000;

const service = z
  .strictObject({
    name: label,
    port,
    protocol: portProtocol.exactOptional(),
    appProtocol: appProtocol.exactOptional(),
    version: version.exactOptional(),
    endpoints: z.array(address).min(1).max(MAX_ENDPOINTS),
  })
  .transform(
    (given): StaticService => ({ ...given, protocol: given.protocol ?? portProtocolOf(given.appProtocol) }),
  );

const services = alsoCheck(
  z.array(service).max(MAX_SERVICES),
  uniqueBy("service port", (item) => {
    const name = textField(item, "name");
    if (name === undefined || !("port" in item)) return undefined;
    return `${name}:${String(item.port)}${"version" in item ? ` ${String(item.version)}` : ""}`;
  }),
);

const workload = z
  .strictObject({
    namespace: workloadNamespace,
    name: label,
    serviceAccount: subdomain.exactOptional(),
    services: services.default([]),
  })
  .transform((given): StaticWorkload => ({ ...given, serviceAccount: given.serviceAccount ?? given.name }));

export const workloads = alsoCheck(
  z.array(workload).max(MAX_WORKLOADS),
  uniqueBy("workload", (item) => {
    const [namespace, name] = [textField(item, "namespace"), textField(item, "name")];
    return namespace === undefined || name === undefined ? undefined : `${namespace}/${name}`;
  }),
);

export const staticCluster = z.strictObject({
  apiVersion,
  kind: z.literal("StaticCluster"),
  metadata: z.strictObject({ name: label }),
  spec: z.strictObject({
    gateways: z.array(address).default([]),
    agents: z.array(address).default([]),
    workloads: workloads.default([]),
  }),
}) satisfies z.ZodType<StaticCluster>;

export function decodeStaticCluster(input: unknown): Result<StaticCluster, readonly Issue[]> {
  return decode(staticCluster, input);
}
