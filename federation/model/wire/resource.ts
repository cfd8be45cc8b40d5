import * as z from "zod";
import { authorizationPolicySpec } from "./authorization-policy.ts";
import type { Issue } from "../problem.ts";
import type {
  AppliedKind,
  AppliedResource,
  BackendTrafficPolicyResource,
  AuthorizationPolicyResource,
  EgressPolicyResource,
  RateLimitResource,
  RolloutResource,
  ServiceExportResource,
  ServiceImportResource,
  TrafficRouteResource,
  ServiceProperties,
} from "../resource.ts";
import type { Result } from "../result.ts";
import { alsoCheck, decode, textField, uniqueBy } from "./decode.ts";
import { egressPolicySpec } from "./egress-policy.ts";
import { MAX_INGRESS, outsideIngress } from "./ingress.ts";
import { apiVersion, label, port as portNumber, revision, timestamp, workloadPattern } from "./fields.ts";
import { backendTrafficPolicySpec, rateLimitSpec, rolloutSpec } from "./traffic-policy.ts";
import { trafficRouteSpec } from "./traffic-route.ts";

/** Bounds of one object; what needs more is split into several. */
const MAX_CONSUMERS = 2_000;
const MAX_PATTERNS = 256;
/** Clusters that one import takes its service from. */
const MAX_SOURCES = 64;

const versioned = {
  resourceVersion: revision.exactOptional(),
  firstSeen: timestamp.exactOptional(),
  managedBy: z.literal("kubernetes").exactOptional(),
};
const clusterScoped = z.strictObject({ cluster: label, name: label, ...versioned });
const namespaced = z.strictObject({ cluster: label, namespace: label, name: label, ...versioned });

const consumer = z.strictObject({
  cluster: label.or(z.literal("*")),
  workloads: z.array(workloadPattern).min(1).max(MAX_PATTERNS).exactOptional(),
});

const consumers = alsoCheck(
  z.array(consumer).max(MAX_CONSUMERS),
  uniqueBy("consumer", (item) => textField(item, "cluster")),
);

/** Kubernetes' own limits of a label's key and value; annotations may be longer. */
const labels = z.record(z.string().min(1).max(317), z.string().max(63));
const annotations = z.record(z.string().min(1).max(317), z.string().max(4_096));

export const serviceProperties = z.strictObject({
  headless: z.boolean().exactOptional(),
  sessionAffinity: z.literal("ClientIP").exactOptional(),
  sessionAffinitySeconds: z.int().min(1).max(86_400).exactOptional(),
  internalTrafficPolicy: z.literal("Local").exactOptional(),
  trafficDistribution: z.string().min(1).max(63).exactOptional(),
  ipFamilies: z
    .array(z.enum(["IPv4", "IPv6"]))
    .min(1)
    .max(2)
    .exactOptional(),
  ports: z
    .array(
      z.strictObject({
        port: portNumber,
        name: z.string().min(1).max(63).exactOptional(),
        appProtocol: z.string().min(1).max(255).exactOptional(),
      }),
    )
    .max(1_000)
    .exactOptional(),
  labels: labels.exactOptional(),
  annotations: annotations.exactOptional(),
}) satisfies z.ZodType<ServiceProperties>;

export const serviceExport = z.strictObject({
  apiVersion,
  kind: z.literal("ServiceExport"),
  metadata: namespaced,
  spec: z.strictObject({
    consumers,
    properties: serviceProperties.exactOptional(),
    ingress: z.array(outsideIngress).min(1).max(MAX_INGRESS).exactOptional(),
  }),
}) satisfies z.ZodType<ServiceExportResource>;

export const serviceImport = z.strictObject({
  apiVersion,
  kind: z.literal("ServiceImport"),
  metadata: namespaced,
  spec: z.strictObject({
    from: z.strictObject({
      cluster: label,
      also: z.array(label).min(1).max(MAX_SOURCES).exactOptional(),
      namespace: label.exactOptional(),
      name: label.exactOptional(),
    }),
  }),
}) satisfies z.ZodType<ServiceImportResource>;

export const egressPolicy = z.strictObject({
  apiVersion,
  kind: z.literal("EgressPolicy"),
  metadata: clusterScoped,
  spec: egressPolicySpec,
}) satisfies z.ZodType<EgressPolicyResource>;

export const trafficRoute = z.strictObject({
  apiVersion,
  kind: z.literal("TrafficRoute"),
  metadata: namespaced,
  spec: trafficRouteSpec,
}) satisfies z.ZodType<TrafficRouteResource>;

export const rateLimit = z.strictObject({
  apiVersion,
  kind: z.literal("RateLimit"),
  metadata: namespaced,
  spec: rateLimitSpec,
}) satisfies z.ZodType<RateLimitResource>;

export const backendTrafficPolicy = z.strictObject({
  apiVersion,
  kind: z.literal("BackendTrafficPolicy"),
  metadata: namespaced,
  spec: backendTrafficPolicySpec,
}) satisfies z.ZodType<BackendTrafficPolicyResource>;

export const rollout = z.strictObject({
  apiVersion,
  kind: z.literal("Rollout"),
  metadata: namespaced,
  spec: rolloutSpec,
}) satisfies z.ZodType<RolloutResource>;

export const authorizationPolicy = z.strictObject({
  apiVersion,
  kind: z.literal("AuthorizationPolicy"),
  metadata: namespaced,
  spec: authorizationPolicySpec,
}) satisfies z.ZodType<AuthorizationPolicyResource>;

export const appliedResource = z.discriminatedUnion("kind", [
  serviceExport,
  serviceImport,
  egressPolicy,
  trafficRoute,
  rateLimit,
  backendTrafficPolicy,
  rollout,
  authorizationPolicy,
]);
export const APPLIED_KINDS = [
  "ServiceExport",
  "ServiceImport",
  "EgressPolicy",
  "TrafficRoute",
  "RateLimit",
  "BackendTrafficPolicy",
  "Rollout",
  "AuthorizationPolicy",
] as const satisfies AppliedKind[];
export const appliedKind = z.enum(APPLIED_KINDS);

/**
 * `status` and `progress` are what the registry answered: accepted, so that `get -o yaml` can be edited and applied, and
 * dropped.
 */
export function decodeAppliedResource(input: unknown): Result<AppliedResource, readonly Issue[]> {
  return decode(appliedResource, withoutStatus(input));
}

export function withoutStatus(input: unknown): unknown {
  if (typeof input !== "object" || input === null || Array.isArray(input)) return input;
  if (!("status" in input) && !("progress" in input)) return input;
  const { status: _status, progress: _progress, ...rest } = input as { status?: unknown; progress?: unknown };
  return rest;
}
