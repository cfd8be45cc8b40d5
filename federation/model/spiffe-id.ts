import { err, ok, type Result } from "./result.ts";

/** A SPIFFE trust domain name such as `east.acme.mesh` (SPIFFE-ID §2.1): lower case, no port, at most 255 bytes. */
export type TrustDomain = string & { readonly __trustDomain: true };

/** A parsed SPIFFE ID; `uri` is its canonical text, so comparing two IDs is comparing two strings. */
export interface SpiffeId {
  readonly trustDomain: TrustDomain;
  /** Begins with `/`, or is empty for the ID of the trust domain itself. */
  readonly path: string;
  readonly uri: string;
}

/** Namespace that no workload may use: the identities of gateways and agents live there. */
export const SYSTEM_NAMESPACE = "isthmus-system";

const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT = /^[a-zA-Z0-9._-]+$/;
const MAX_ID_BYTES = 2048;
const SCHEME = "spiffe://";

export function parseTrustDomain(text: string): Result<TrustDomain> {
  return TRUST_DOMAIN.test(text)
    ? ok(text as TrustDomain)
    : err(
        `"${printable(text)}" is not a trust domain name: use a-z, 0-9, ".", "-", "_", at most 255 characters`,
      );
}

/** Strict (SPIFFE-ID §2): no percent-encoding, query, port, user info, empty or dot segments, trailing slash. */
export function parseSpiffeId(text: string): Result<SpiffeId> {
  if (text.length > MAX_ID_BYTES)
    return err(`a SPIFFE ID has at most ${MAX_ID_BYTES} bytes, this one ${text.length}`);
  if (!text.startsWith(SCHEME)) return err(`"${printable(text)}" does not begin with spiffe://`);
  const slash = text.indexOf("/", SCHEME.length);
  const domain = parseTrustDomain(
    slash === -1 ? text.slice(SCHEME.length) : text.slice(SCHEME.length, slash),
  );
  if (!domain.ok) return domain;
  const path = slash === -1 ? "" : text.slice(slash);
  if (path !== "") {
    for (const segment of path.slice(1).split("/")) {
      if (!SEGMENT.test(segment) || segment === "." || segment === "..") {
        return err(`"${printable(text)}" has a path segment that SPIFFE does not allow`);
      }
    }
  }
  return ok({ trustDomain: domain.value, path, uri: text });
}

/** The ID of a workload by Kubernetes convention: `spiffe://<td>/ns/<namespace>/sa/<service account>`. */
export function workloadSpiffeId(
  trustDomain: TrustDomain,
  namespace: string,
  serviceAccount: string,
): SpiffeId {
  const path = `/ns/${namespace}/sa/${serviceAccount}`;
  return { trustDomain, path, uri: `${SCHEME}${trustDomain}${path}` };
}

/** The ID of a trust domain's own CA: no path (X509-SVID §3.1). */
export function trustDomainSpiffeId(trustDomain: TrustDomain): SpiffeId {
  return { trustDomain, path: "", uri: `${SCHEME}${trustDomain}` };
}

/** A controller keeps a cluster's Kubernetes objects and the registry in step; it carries no traffic. */
export type SystemRole = "gateway" | "agent" | "controller";

export function systemSpiffeId(trustDomain: TrustDomain, role: SystemRole): SpiffeId {
  return workloadSpiffeId(trustDomain, SYSTEM_NAMESPACE, role);
}

/** Which of our own roles this ID has, if any. */
export function systemRole(id: SpiffeId): SystemRole | undefined {
  if (id.path === `/ns/${SYSTEM_NAMESPACE}/sa/gateway`) return "gateway";
  if (id.path === `/ns/${SYSTEM_NAMESPACE}/sa/agent`) return "agent";
  if (id.path === `/ns/${SYSTEM_NAMESPACE}/sa/controller`) return "controller";
  return undefined;
}

function printable(text: string): string {
  const clean = text.replace(/[^\x20-\x7e]/g, "?");
  return clean.length > 80 ? `${clean.slice(0, 80)}…` : clean;
}
