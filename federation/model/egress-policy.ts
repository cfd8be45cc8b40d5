import type { Duration } from "./duration.ts";
import { serviceKey, type ServiceName } from "./service.ts";
import type { SnapshotEgressPolicy } from "./snapshot.ts";
import type { WorkloadPattern } from "./workload-pattern.ts";

/**
 * Who may leave, to where, as whom. Field names are those of the Gateway API's experimental XBackend (`hostname`, `ports`,
 * `protocol`, `tls`) and of BackendTLSPolicy (`validation`) where it has them.
 */
export interface EgressPolicySpec {
  readonly mode: EgressMode;
  /** The higher one wins where several policies fit one request; 0 unless given. */
  readonly priority?: number;
  readonly from: readonly EgressSource[];
  readonly to: readonly EgressTarget[];
  /** How external destinations of this policy are spoken to; absent: as the workload speaks, unchanged. */
  readonly tls?: EgressTls;
  readonly rateLimit?: EgressRateLimit;
  readonly timeouts?: EgressTimeouts;
}

export type EgressMode = "observe" | "enforce";

/** Callers of the policy's own cluster; exactly one field is given. */
export interface EgressSource {
  readonly workload?: WorkloadPattern;
  readonly namespace?: string;
  /** The policy's own cluster: all of its workloads. */
  readonly cluster?: string;
}

/** An imported service, or something outside. */
export interface EgressTarget extends ExternalTarget {
  readonly service?: ServiceName;
}

/** Something outside the federation. With both `hostname` and `cidr`, the name's addresses must lie in the range. */
export interface ExternalTarget {
  /** `api.example.com`, or `*.example.com` for everything below it. */
  readonly hostname?: string;
  /** Also lifts the guard over a private, loopback, link-local or metadata range that contains it. */
  readonly cidr?: string;
  /** 443 unless given. */
  readonly ports?: readonly number[];
  /** What the workload speaks to us; `http` unless given where TLS is originated or `http` is, else `tcp`. */
  readonly protocol?: "http" | "tcp";
  readonly http?: ExternalHttpRules;
}

/** Absent parts permit everything. */
export interface ExternalHttpRules {
  readonly methods?: readonly string[];
  readonly paths?: readonly ExternalPath[];
}

/** Of the path without its query, element by element as in the Gateway API's HTTPRoute. */
export interface ExternalPath {
  readonly type: "Exact" | "PathPrefix";
  readonly value: string;
}

export interface EgressTls {
  /** `passthrough`: the workload's own TLS, whose SNI must name the host. Else the gateway speaks TLS. */
  readonly mode: "passthrough" | "originate" | "mutual";
  /** Instead of the hostname, in SNI and as the name that the certificate must have. */
  readonly sni?: string;
  readonly validation?: EgressTlsValidation;
  readonly minVersion?: "1.2" | "1.3";
  /** A secret of the gateway with `tls.crt` and `tls.key`. */
  readonly clientCertificateRef?: SecretRef;
  /** Per caller; the first that fits, before `clientCertificateRef`. */
  readonly clientCertificates?: readonly CallerCertificate[];
}

export interface EgressTlsValidation {
  readonly wellKnownCACertificates?: "System";
  /** Secrets of the gateway with `ca.crt`. */
  readonly caCertificateRefs?: readonly SecretRef[];
  /** One of these must be in the certificate, instead of the host's name. */
  readonly subjectAltNames?: readonly SubjectAltName[];
}

export type SubjectAltName =
  | { readonly type: "Hostname"; readonly hostname: string }
  | { readonly type: "URI"; readonly uri: string };

/** A directory of the gateway's secrets, or a Secret of the namespace `isthmus-egress`: `tls.crt`, `tls.key`, `ca.crt`. */
export interface SecretRef {
  readonly name: string;
}

export interface CallerCertificate {
  readonly workload: WorkloadPattern;
  readonly clientCertificateRef: SecretRef;
}

/** For each caller by itself: HTTP requests, or connections where HTTP is not looked at. */
export interface EgressRateLimit {
  readonly requests: number;
  /** One second unless given. */
  readonly interval?: Duration;
  /** How many may come at once; `requests` unless given. */
  readonly burst?: number;
}

export interface EgressTimeouts {
  /** Resolve, connect and handshake; 5 s unless given. */
  readonly connect?: Duration;
  /** From the request's end to the head of its answer; 5 min unless given. */
  readonly request?: Duration;
  /** Of a connection on which nothing moves; 10 min unless given. */
  readonly idle?: Duration;
}

export const DEFAULT_EXTERNAL_PORT = 443;

export function portsOf(target: ExternalTarget): readonly number[] {
  return target.ports ?? [DEFAULT_EXTERNAL_PORT];
}

export function protocolOf(target: ExternalTarget, tls: EgressTls | undefined): "http" | "tcp" {
  if (target.protocol !== undefined) return target.protocol;
  const originates = tls !== undefined && tls.mode !== "passthrough";
  return originates || target.http !== undefined ? "http" : "tcp";
}

/** The services among the destinations. */
export function serviceTargets({ to }: Pick<EgressPolicySpec, "to">): readonly ServiceName[] {
  return to.flatMap(({ service }) => (service === undefined ? [] : [service]));
}

export function externalTargets({ to }: Pick<EgressPolicySpec, "to">): readonly ExternalTarget[] {
  return to.filter(({ service }) => service === undefined);
}

export function sourcePattern({ workload, namespace }: EgressSource): WorkloadPattern {
  return workload ?? (namespace === undefined ? "*" : `ns/${namespace}/sa/*`);
}

/** `api.example.com:443`, `*.example.com in 10.0.0.0/8`: an external destination as listings write it. */
export function targetText(target: EgressTarget): string {
  if (target.service !== undefined) return serviceKey(target.service);
  const place = [target.hostname, target.cidr].filter((part) => part !== undefined).join(" in ");
  return `${place}:${portsOf(target).join(",")}`;
}

/** A policy as members get it. */
export function snapshotPolicy(policy: {
  readonly metadata: { readonly name: string };
  readonly spec: EgressPolicySpec;
}): SnapshotEgressPolicy {
  const { spec } = policy;
  const { mode, from, priority, tls, rateLimit, timeouts } = spec;
  const external = externalTargets(spec);
  return {
    name: policy.metadata.name,
    mode,
    from: [...new Set(from.map(sourcePattern))],
    to: serviceTargets(spec),
    ...(priority === undefined ? {} : { priority }),
    ...(external.length === 0 ? {} : { external }),
    ...(tls === undefined ? {} : { tls }),
    ...(rateLimit === undefined ? {} : { rateLimit }),
    ...(timeouts === undefined ? {} : { timeouts }),
  };
}
