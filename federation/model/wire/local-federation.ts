import * as z from "zod";
import type { Issue } from "../problem.ts";
import type { API_VERSION } from "../resource.ts";
import type { Result } from "../result.ts";
import type { StaticWorkload } from "../static-cluster.ts";
import { alsoCheck, decode, textField, uniqueBy } from "./decode.ts";
import { apiVersion, federationName, hostPort, label } from "./fields.ts";
import { workloads } from "./static-cluster.ts";

/** A whole federation on one machine, as `isthmus up` takes it. Defaults are filled in by the decoder. */
export interface LocalFederation {
  readonly apiVersion: typeof API_VERSION;
  readonly kind: "LocalFederation";
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly registry: { readonly listen: string };
    readonly clusters: readonly LocalCluster[];
  };
}

export interface LocalCluster {
  readonly name: string;
  /** Without agents the gateway serves workloads itself. */
  readonly agents: boolean;
  /** How many gateway processes. */
  readonly gateways: number;
  /** How many agent processes, where there are agents. */
  readonly agentReplicas: number;
  readonly workloads: readonly StaticWorkload[];
}

/** Processes of one cluster on one machine; more is surely a typing mistake. */
const MAX_REPLICAS = 16;
const MAX_CLUSTERS = 64;
const ANY_FREE_PORT = "127.0.0.1:0";

const replicas = z.int().min(1).max(MAX_REPLICAS).default(1);

const cluster = z.strictObject({
  name: label,
  agents: z.boolean().default(true),
  gateways: replicas,
  agentReplicas: replicas,
  workloads: workloads.default([]),
});

export const localFederation = z.strictObject({
  apiVersion,
  kind: z.literal("LocalFederation"),
  metadata: z.strictObject({ name: federationName }),
  spec: z.strictObject({
    registry: z
      .strictObject({ listen: hostPort(0).default(ANY_FREE_PORT) })
      .default({ listen: ANY_FREE_PORT }),
    clusters: alsoCheck(
      z.array(cluster).min(1).max(MAX_CLUSTERS),
      uniqueBy("cluster", (item) => textField(item, "name")),
    ),
  }),
}) satisfies z.ZodType<LocalFederation>;

export function decodeLocalFederation(input: unknown): Result<LocalFederation, readonly Issue[]> {
  return decode(localFederation, input);
}
