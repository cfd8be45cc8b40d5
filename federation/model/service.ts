import type { TrustDomain } from "./spiffe-id.ts";

/** How a port's bytes are understood where they enter the mesh. */
export type PortProtocol = "http" | "tcp";

export interface ServicePort {
  readonly name?: string;
  readonly port: number;
  readonly protocol: PortProtocol;
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
