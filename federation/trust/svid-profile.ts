import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { parseSpiffeId, type SpiffeId, type TrustDomain } from "../model/spiffe-id.ts";
import type { Certificate } from "./certificate.ts";
import type { NameConstraints } from "./extensions.ts";
import { KEY_USAGE_BITS, type KeyUsage } from "./issue-certificate.ts";

/** The X509-SVID profile (SPIFFE X509-SVID §4, §5), certificate by certificate. Signatures are not looked at here. */

const EMPTY_NAME_BYTES = 2;

/** The identity of a leaf that may be used as an SVID. */
export function judgeLeaf(leaf: Certificate): Result<SpiffeId, Problem> {
  const breach = leafBreach(leaf) ?? commonBreach(leaf);
  if (breach !== undefined) return err(problem("peer_certificate_profile", `the leaf ${breach}`));
  const [uri, ...others] = leaf.names.uris;
  if (uri === undefined || others.length > 0) {
    return err(problem("peer_spiffe_id_invalid", `the leaf has ${leaf.names.uris.length} URI SANs, not one`));
  }
  const id = parseSpiffeId(uri);
  if (!id.ok) return err(problem("peer_spiffe_id_invalid", id.error));
  if (id.value.path === "") {
    return err(problem("peer_spiffe_id_invalid", `${uri} names a trust domain, not a workload`));
  }
  if (leaf.subject.length === EMPTY_NAME_BYTES && !leaf.names.critical) {
    return err(
      problem("peer_certificate_profile", "the leaf has neither a subject nor critical alternative names"),
    );
  }
  return id;
}

function leafBreach(leaf: Certificate): string | undefined {
  if (leaf.isCa) return "is a CA";
  if (leaf.keyUsage === undefined || !leaf.keyUsageCritical) return "has no critical key usage";
  if (!has(leaf, "digitalSignature")) return "may not make signatures";
  if (has(leaf, "keyCertSign") || has(leaf, "cRLSign")) return "may sign certificates or revocation lists";
  if (leaf.nameConstraints !== undefined) return "carries name constraints";
  return undefined;
}

/** The trust domain a CA says it is of, if it says so (X509-SVID §3.1: an ID without a path). */
export function judgeIssuer(issuer: Certificate): Result<TrustDomain | undefined, Problem> {
  const breach = issuerBreach(issuer) ?? commonBreach(issuer);
  if (breach !== undefined) return err(problem("peer_certificate_profile", `an issuer ${breach}`));
  const [uri] = issuer.names.uris;
  if (uri === undefined) return ok(undefined);
  const id = parseSpiffeId(uri);
  if (!id.ok || id.value.path !== "") {
    return err(problem("peer_certificate_profile", "an issuer has a URI SAN that names no trust domain"));
  }
  return ok(id.value.trustDomain);
}

function issuerBreach(issuer: Certificate): string | undefined {
  if (!issuer.isCa) return "is not a CA";
  if (!has(issuer, "keyCertSign")) return "may not sign certificates";
  if (issuer.subject.length === EMPTY_NAME_BYTES) return "has no subject";
  if (issuer.names.uris.length > 1) return "has several URI SANs";
  return undefined;
}

function commonBreach({ unknownCritical, extendedKeyUsage }: Certificate): string | undefined {
  if (unknownCritical !== undefined) return `has an unknown critical extension (${unknownCritical})`;
  if (extendedKeyUsage === undefined) return undefined;
  return extendedKeyUsage.includes("serverAuth") && extendedKeyUsage.includes("clientAuth")
    ? undefined
    : "has an extended key usage without both server and client authentication";
}

function has({ keyUsage }: Certificate, usage: KeyUsage): boolean {
  return keyUsage !== undefined && (keyUsage & (1 << KEY_USAGE_BITS[usage])) !== 0;
}

export function judgeDates(certificate: Certificate, what: string, now: number): Problem | undefined {
  if (now < certificate.notBeforeMs) {
    const from = new Date(certificate.notBeforeMs).toISOString();
    return problem("peer_certificate_not_yet_valid", `${what} is valid from ${from}`);
  }
  if (now > certificate.notAfterMs) {
    const until = new Date(certificate.notAfterMs).toISOString();
    return problem("peer_certificate_expired", `${what} was valid until ${until}`);
  }
  return undefined;
}

/** Whether a certificate below an issuer keeps to its name constraints (RFC 5280 §4.2.1.10). */
export function keepsTo(constraints: NameConstraints, below: Certificate): boolean {
  // We can only judge URIs. A constraint on another form forbids names of that form altogether.
  for (const form of constraints.otherForms) {
    if (below.names.otherForms.has(form)) return false;
    if (form === DIRECTORY_NAME && below.subject.length > EMPTY_NAME_BYTES) return false;
  }
  return below.names.uris.every((uri) => isPermitted(constraints, uri));
}

const DIRECTORY_NAME = 4;

function isPermitted({ permittedUris, excludedUris }: NameConstraints, uri: string): boolean {
  const id = parseSpiffeId(uri);
  if (!id.ok) return false;
  const host = id.value.trustDomain;
  const inside = (base: string) => {
    const lower = base.toLowerCase();
    return lower.startsWith(".") ? host.endsWith(lower) : host === lower;
  };
  return !excludedUris.some(inside) && (permittedUris === undefined || permittedUris.some(inside));
}
