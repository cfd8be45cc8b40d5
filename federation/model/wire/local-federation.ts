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
    readonly registry: LocalRegistry;
    readonly clusters: readonly LocalCluster[];
  };
}

export interface LocalRegistry {
  readonly listen: string;
  readonly store: "sqlite" | "dynamodb";
  /** DynamoDB only; absent: as the registry has it. */
  readonly table?: string;
  /** DynamoDB only; absent: at AWS, in the region of the environment. */
  readonly endpoint?: string;
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

const registry = alsoCheck(
  z.strictObject({
    listen: hostPort(0).default(ANY_FREE_PORT),
    store: z.enum(["sqlite", "dynamodb"]).default("sqlite"),
    table: z
      .string()
      .regex(/^[A-Za-z0-9_.-]{3,255}$/, "must be the name of a DynamoDB table")
      .exactOptional(),
    endpoint: z.url({ protocol: /^https?$/ }).exactOptional(),
  }),
  (value, report) => {
    if (typeof value !== "object" || value === null || Reflect.get(value, "store") === "dynamodb") return;
    for (const key of ["table", "endpoint"]) if (key in value) report([key], "belongs to store: dynamodb");
  },
);

export const localFederation = z.strictObject({
  apiVersion,
  kind: z.literal("LocalFederation"),
  metadata: z.strictObject({ name: federationName }),
  spec: z.strictObject({
    registry: registry.default({ listen: ANY_FREE_PORT, store: "sqlite" }),
    clusters: alsoCheck(
      z.array(cluster).min(1).max(MAX_CLUSTERS),
      uniqueBy("cluster", (item) => textField(item, "name")),
    ),
  }),
}) satisfies z.ZodType<LocalFederation>;

export function decodeLocalFederation(input: unknown): Result<LocalFederation, readonly Issue[]> {
  return decode(localFederation, input);
}
