import * as z from "zod";
import { parseAddress } from "../address.ts";
import { DURATION, durationMs } from "../duration.ts";
import { API_VERSION } from "../resource.ts";
import { SYSTEM_NAMESPACE, type TrustDomain } from "../spiffe-id.ts";
import { WORKLOAD_PATTERN } from "../workload-pattern.ts";

/** Longest federation name whose clusters' trust domains (63 + "." + name) still fit SPIFFE's 255. */
const MAX_FEDERATION_NAME = 191;

export const apiVersion = z.literal(API_VERSION);

const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 1123 label: clusters, namespaces, services. */
export const label = z
  .string()
  .regex(LABEL, `must be a DNS label: a-z, 0-9 and "-", at most 63 characters, no "-" at either end`);

/** RFC 1123 subdomain, as Kubernetes has it for service accounts. */
export const subdomain = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/,
    `must be a DNS name: a-z, 0-9, "-" and ".", at most 253 characters`,
  );

/** Namespace of a workload: never the one whose identities are our own gateways and agents. */
export const workloadNamespace = label.refine(
  (text) => text !== SYSTEM_NAMESPACE,
  `"${SYSTEM_NAMESPACE}" is reserved for gateways and agents`,
);

/** One label of a federation name; the whole is the parent of every cluster's trust domain. */
const FEDERATION = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
export const federationName = z
  .string()
  .max(MAX_FEDERATION_NAME)
  .regex(FEDERATION, `must be a DNS name such as "acme.mesh"`);

/** Branded by the schema, so that no decoded text needs a cast later. */
export const trustDomain = z
  .string()
  .regex(/^[a-z0-9._-]{1,255}$/, "must be a SPIFFE trust domain name")
  .transform((text) => text as TrustDomain);

export const workloadPattern = z
  .string()
  .regex(
    WORKLOAD_PATTERN,
    `must be "*" or ns/<namespace>/sa/<service account>, where either name may be "*"`,
  );

export const port = z.int().min(1, "must be 1 to 65535").max(65535, "must be 1 to 65535");
export const portProtocol = z.enum(["http", "tcp", "detect"]);
/** As Kubernetes has it: an IANA service name, or a name with a domain prefix. */
export const appProtocol = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9./_-]{0,252}$/, "must be a protocol name such as kubernetes.io/h2c");
export const servicePort = z.strictObject({
  name: label.exactOptional(),
  port,
  protocol: portProtocol,
  appProtocol: appProtocol.exactOptional(),
});

/** `host:port` or `[v6]:port`; `lowest` is 0 where any free port may be asked for. */
export function hostPort(lowest: 0 | 1) {
  return z.string().refine((text) => {
    const parsed = parseAddress(text);
    return parsed.ok && parsed.value.port >= lowest;
  }, `must be host:port or [v6]:port with a port of ${lowest} to 65535`);
}

/** A version of a service: what Kubernetes allows as the value of a label, such as `v2` or `2024.1`. */
export const version = z
  .string()
  .regex(
    /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/,
    `must be a version: letters, digits, "-", "_" and ".", at most 63 characters`,
  );

/** A dialable address. */
export const address = hostPort(1);
export const timestamp = z.iso.datetime({ offset: true });
export const duration = z.string().regex(DURATION, "must be a duration such as 10s, 1m30s or 250ms");
/** Over which requests and retries are counted. */
export const budgetInterval = duration.refine((text) => durationMs(text) >= 1_000, "must be at least 1s");
/** In which so many things may happen. */
export const rateInterval = duration.refine((text) => durationMs(text) > 0, "must not be zero");
export const revision = z.int().min(0);
/** Names of member processes: `gateway-1`. */
export const memberName = label;
