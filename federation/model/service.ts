import type { TrustDomain } from "./spiffe-id.ts";

/**
 * How a port's bytes are understood where they enter the mesh. `http` is HTTP/1.1 and HTTP/2, told apart by the first bytes;
 * `detect`: nobody said, so each connection is judged by its own first bytes.
 */
export type PortProtocol = "http" | "tcp" | "detect";

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: PortProtocol;
  /** As the owner declared it (Kubernetes' `appProtocol`): `kubernetes.io/h2c`, `redis`. */
  readonly appProtocol?: string;
}

// Kubernetes' standard names (KEP-3726) and the bare words that people and other meshes use.
const SPOKEN_AS_HTTP: ReadonlySet<string> = new Set([
  "http",
  "http2",
  "h2c",
  "kubernetes.io/h2c",
  "grpc",
  "grpc-web",
  "ws",
  "kubernetes.io/ws",
]);

/** What a declared protocol means for the entry. TLS of the workload's own (`https`, `kubernetes.io/wss`) stays closed to us. */
export function portProtocolOf(appProtocol: string | undefined): PortProtocol {
  if (appProtocol === undefined) return "detect";
  return SPOKEN_AS_HTTP.has(appProtocol.toLowerCase()) ? "http" : "tcp";
}

/** A logical name; endpoints are never part of it (they stay in their cluster). */
export interface Service {
  readonly namespace: string;
  readonly name: string;
  readonly ports: readonly ServicePort[];
  /** Versions that some of its endpoints have; absent where none says one. */
  readonly versions?: readonly string[];
}

/** One dialable address of a service port. */
export interface ServiceEndpoint {
  readonly address: string;
  /** Where nodes are known: the agent of the same one stands beside it. */
  readonly node?: string;
  /** `v2`: which of the service's versions runs there. */
  readonly version?: string;
}

export interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** `cart.shop`: how people and listings write a service. */
export function serviceKey(service: ServiceName): string {
  return `${service.name}.${service.namespace}`;
}

const CLUSTERSET_SUFFIX = ".svc.clusterset.local";

/** MCS DNS name (KEP-1645): `cart.shop.svc.clusterset.local`. */
export function clustersetHost(service: ServiceName): string {
  return `${service.name}.${service.namespace}${CLUSTERSET_SUFFIX}`;
}

/** The tunnel `:authority` between gateways. */
export function serviceAuthority(service: ServiceName, port: number): string {
  return `${clustersetHost(service)}:${port}`;
}

const AUTHORITY =
  /^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)\.([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)\.svc\.clusterset\.local:([0-9]{1,5})$/;

/** Inverse of `serviceAuthority`; `undefined` for anything else. */
export function parseServiceAuthority(
  authority: string,
): (ServiceName & { readonly port: number }) | undefined {
  const match = AUTHORITY.exec(authority);
  if (match === null) return undefined;
  const [, name, , namespace, , port] = match;
  const number = Number(port);
  if (name === undefined || namespace === undefined || number < 1 || number > 65535) return undefined;
  return { namespace, name, port: number };
}

/**
 * `aud` of a caller token: the service *of one trust domain*, so that a token shown to one exporter is worthless at
 * another that exports the same name.
 */
export function serviceAudience(trustDomain: TrustDomain, service: ServiceName): string {
  return `${trustDomain}/${service.namespace}/${service.name}`;
}
