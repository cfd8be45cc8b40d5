// Longer than most: every document of the HTTP interface, in one place.
import * as z from "zod";
import type { ClusterStatus, Resource, WithStatus } from "../resource.ts";
import type { Service } from "../service.ts";
import { alsoCheck, textField, uniqueBy } from "./decode.ts";
import {
  address,
  apiVersion,
  federationName,
  label,
  memberName,
  revision,
  servicePort,
  timestamp,
  trustDomain,
  version,
} from "./fields.ts";
import { memberReport } from "./member-report.ts";
import {
  appliedKind,
  appliedResource,
  authorizationPolicy,
  backendTrafficPolicy,
  egressPolicy,
  rateLimit,
  rollout,
  serviceExport,
  serviceImport,
  trafficRoute,
} from "./resource.ts";
import { rolloutProgress } from "./traffic-policy.ts";

/**
 * Bodies of the registry's HTTP interface. Requests are strict: an unknown field is a mistake worth telling. Answers are
 * lenient at their top level, so that an older client goes on when a newer registry says more.
 */

/** What a schema decodes to, unchangeable. */
type Answer<S extends z.ZodType> = Frozen<z.output<S>>;
type Frozen<T> = unknown extends T
  ? T
  : T extends string | number | boolean | undefined
    ? T
    : T extends readonly (infer Item)[]
      ? readonly Frozen<Item>[]
      : { readonly [K in keyof T]: Frozen<T[K]> };

/** Of one request to apply; more are several requests. */
export const MAX_APPLIED = 1_000;
/** Of a request's body. */
export const MAX_REQUEST_BYTES = 1024 * 1024;
/** Of a member's: 10,000 listeners or declared resources take 1.5 to 2.5 MiB. Lambda takes 6 MB, of which base64 is a third. */
export const MAX_MEMBER_REQUEST_BYTES = 4 * 1024 * 1024;
const MAX_SERVICES = 5_000;
/** Kubernetes has no limit of its own; above it a service is left out rather than all of them refused. */
const MAX_PORTS = 1_000;
export const MAX_VERSIONS = 64;
/** A CSR of a P-256 key has about 400 characters. */
const MAX_CSR = 8_192;
const MAX_TOKEN = 8_192;

export const requestToken = z
  .string()
  .regex(/^[A-Za-z0-9._:-]{8,128}$/, "must be 8 to 128 characters of A-Z a-z 0-9 . _ : -");

export const registerRequest = z.strictObject({
  name: label,
  dryRun: z.boolean().exactOptional(),
});
export type RegisterRequest = Answer<typeof registerRequest>;

export const joinRequest = z.strictObject({
  token: z.string().min(1).max(MAX_TOKEN),
  csr: z.string().min(1).max(MAX_CSR),
});
export const renewRequest = z.strictObject({ csr: z.string().min(1).max(MAX_CSR) });

const servicePorts = alsoCheck(
  z.array(servicePort).min(1).max(MAX_PORTS),
  uniqueBy("port", (item) => ("port" in item ? String(item.port) : undefined)),
);

export const service = z.strictObject({
  namespace: label,
  name: label,
  ports: servicePorts,
  versions: z.array(version).min(1).max(MAX_VERSIONS).exactOptional(),
}) satisfies z.ZodType<Service>;

export const servicesRequest = z.strictObject({
  services: alsoCheck(
    z.array(service).max(MAX_SERVICES),
    uniqueBy("service", (item) => `${textField(item, "namespace")}/${textField(item, "name")}`),
  ),
});

export const applyRequest = z.strictObject({
  resources: alsoCheck(z.array(appliedResource).min(1).max(MAX_APPLIED), uniqueBy("resource", resourceKeyOf)),
  dryRun: z.boolean().exactOptional(),
  requestToken: requestToken.exactOptional(),
});
export type ApplyRequest = Answer<typeof applyRequest>;

/** As many as one cluster may have. */
const MAX_DECLARED = 10_000;
const MAX_GATEWAYS = 64;
export const declareRequest = z.strictObject({
  resources: alsoCheck(z.array(appliedResource).max(MAX_DECLARED), uniqueBy("resource", resourceKeyOf)),
  /** Names of the gateways that there are: others leave the snapshots. Absent: not known. */
  gateways: z.array(memberName).max(MAX_GATEWAYS).exactOptional(),
});
export type DeclareRequest = Answer<typeof declareRequest>;

function resourceKeyOf(item: object): string | undefined {
  const metadata = "metadata" in item ? item.metadata : undefined;
  if (typeof metadata !== "object" || metadata === null) return undefined;
  const parts = ["cluster", "namespace", "name"].map((field) => textField(metadata, field) ?? "-");
  return [textField(item, "kind") ?? "?", ...parts].join("/");
}

export const role = z.enum(["admin", "editor", "viewer"]);
export type Role = z.output<typeof role>;
const MAX_OPERATOR_TOKEN_SECONDS = 366 * 24 * 3_600;

export const operatorTokenRequest = z.strictObject({
  role,
  subject: z.string().regex(/^[\x21-\x7e]{1,128}$/, "must be 1 to 128 printable characters without spaces"),
  expiresInSeconds: z.int().min(1).max(MAX_OPERATOR_TOKEN_SECONDS),
});
export type OperatorTokenRequest = Answer<typeof operatorTokenRequest>;

// ---- answers

export const jwks = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })) });
export type Jwks = Answer<typeof jwks>;

/** SPIFFE bundle map: each trust domain's bundle under its name, never merged. */
export const bundleMap = z.object({ trust_domains: z.record(z.string(), jwks) });
export type BundleMap = Answer<typeof bundleMap>;

export const federationInfo = z.object({ name: federationName, snapshotKeys: jwks, time: timestamp });
export type FederationInfo = Answer<typeof federationInfo>;

/** `token` and `expiresAt` are absent in a dry run. */
export const registerResponse = z.object({
  cluster: label,
  trustDomain,
  action: z.enum(["registered", "reissued"]),
  token: z.string().exactOptional(),
  expiresAt: timestamp.exactOptional(),
});
export type RegisterResponse = Answer<typeof registerResponse>;

export const keyRotationRequest = z.strictObject({
  /** Somebody else may have the key: it is worth nothing from now on. */
  compromised: z.boolean().exactOptional(),
  dryRun: z.boolean().exactOptional(),
});
export const keyRotation = z.object({
  dryRun: z.boolean(),
  revision,
  keys: z.array(
    z.object({
      kid: z.string(),
      phase: z.enum(["announced", "active", "retired", "past"]),
      since: timestamp,
    }),
  ),
  signsFrom: timestamp.exactOptional(),
});
export type KeyRotation = Answer<typeof keyRotation>;

export const renewResponse = z.object({ caCertificate: z.string(), bundles: bundleMap, snapshotKeys: jwks });
export type RenewResponse = Answer<typeof renewResponse>;

export const joinResponse = renewResponse.extend({ federation: federationName, cluster: label, trustDomain });
export type JoinResponse = Answer<typeof joinResponse>;

export const servicesResponse = z.object({ revision, changed: z.boolean() });
export type ServicesResponse = Answer<typeof servicesResponse>;

export const condition = z.object({
  type: z.string(),
  status: z.enum(["True", "False", "Unknown"]),
  reason: z.string(),
  message: z.string(),
});
const status = z.object({ conditions: z.array(condition) });

export const clusterStatus = z.object({
  name: label,
  trustDomain,
  state: z.enum(["pending", "joined"]),
  registeredAt: timestamp,
  joinedAt: timestamp.exactOptional(),
  caNotAfter: timestamp.exactOptional(),
  gateways: z.array(z.object({ id: memberName, address })),
  members: z.array(memberReport.extend({ member: memberName, lastSeen: timestamp }).strip()),
  snapshotRevision: revision,
}) satisfies z.ZodType<ClusterStatus>;

export const clusterList = z.object({ revision, items: z.array(clusterStatus) });
export type ClusterList = Answer<typeof clusterList>;

const observed = { resourceVersion: revision.exactOptional(), firstSeen: timestamp.exactOptional() };
const clusterResource = z.object({
  apiVersion,
  kind: z.literal("Cluster"),
  metadata: z.object({ name: label, ...observed }),
  spec: z.strictObject({}),
  status,
});
const serviceResource = z.object({
  apiVersion,
  kind: z.literal("Service"),
  metadata: z.object({ cluster: label, namespace: label, name: label, ...observed }),
  spec: z.object({ ports: z.array(servicePort), versions: z.array(version).exactOptional() }),
  status,
});

export const resourceWithStatus = z.discriminatedUnion("kind", [
  serviceExport.extend({ status }).strip(),
  serviceImport.extend({ status }).strip(),
  egressPolicy.extend({ status }).strip(),
  trafficRoute.extend({ status }).strip(),
  rateLimit.extend({ status }).strip(),
  backendTrafficPolicy.extend({ status }).strip(),
  authorizationPolicy.extend({ status }).strip(),
  rollout.extend({ status, progress: rolloutProgress.exactOptional() }).strip(),
  serviceResource,
  clusterResource,
]) satisfies z.ZodType<WithStatus<Resource>>;

export const RESOURCE_KINDS = [
  "ServiceExport",
  "ServiceImport",
  "EgressPolicy",
  "TrafficRoute",
  "RateLimit",
  "BackendTrafficPolicy",
  "Rollout",
  "AuthorizationPolicy",
  "Service",
  "Cluster",
] as const;
export const resourceKind = z.enum(RESOURCE_KINDS);

export const resourceList = z.object({ revision, items: z.array(resourceWithStatus) });
export type ResourceList = Answer<typeof resourceList>;

/** `previous` is what the change replaced: what an undo would write back. */
export const applyResult = z.object({
  kind: appliedKind,
  metadata: z.object({ cluster: label, namespace: label.exactOptional(), name: label, ...observed }),
  action: z.enum(["created", "updated", "unchanged"]),
  previous: appliedResource.exactOptional(),
  conditions: z.array(condition),
});
export type ApplyResult = Answer<typeof applyResult>;

/** `shadowed`: an operator applied an object of that name, which stays as it is. `refused`: the condition says why. */
export const declareResponse = z.object({
  revision,
  results: z.array(
    applyResult
      .omit({ previous: true })
      .extend({ action: z.enum(["created", "updated", "unchanged", "shadowed", "refused"]) }),
  ),
});
export type DeclareResponse = Answer<typeof declareResponse>;

export const applyResponse = z.object({ revision, dryRun: z.boolean(), results: z.array(applyResult) });
export type ApplyResponse = Answer<typeof applyResponse>;

export const deleteResponse = z.object({ revision, dryRun: z.boolean(), deleted: appliedResource });
export type DeleteResponse = Answer<typeof deleteResponse>;

export const clusterDeleteResponse = z.object({ revision, dryRun: z.boolean(), cluster: label });
export type ClusterDeleteResponse = Answer<typeof clusterDeleteResponse>;

export const rolloutAction = z.enum(["pause", "promote", "abort"]);
export const rolloutAnswer = z.object({
  revision,
  dryRun: z.boolean(),
  name: z.string(),
  progress: rolloutProgress,
});
export type RolloutAnswer = Answer<typeof rolloutAnswer>;

/** One acknowledged change; `revision` is the federation's after it. */
export const auditRecord = z.object({
  revision,
  time: timestamp,
  actor: z.string(),
  action: z.string(),
  targets: z.array(z.string()),
});
export type AuditRecord = Answer<typeof auditRecord>;

/** `next` is the `after` of the following page; absent on the last. */
export const auditList = z.object({ items: z.array(auditRecord), next: revision.exactOptional() });
export type AuditList = Answer<typeof auditList>;

export const operatorTokenResponse = z.object({ token: z.string(), expiresAt: timestamp });
export type OperatorTokenResponse = Answer<typeof operatorTokenResponse>;

/** RFC 9457, with our members. `resourceVersion` is the current one, in a version conflict. */
export const problemDocument = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string(),
  fix: z.string(),
  issues: z
    .array(z.object({ path: z.string(), message: z.string(), suggestion: z.string().exactOptional() }))
    .exactOptional(),
  resourceVersion: revision.exactOptional(),
});
export type ProblemDocument = Answer<typeof problemDocument>;
