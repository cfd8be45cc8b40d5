import type { KeyObject } from "node:crypto";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { parseSpiffeId, type TrustDomain } from "../model/spiffe-id.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { type Certificate, parseCertificate } from "./certificate.ts";
import { parseCsr } from "./csr.ts";
import { decodePem, encodePem } from "./pem.ts";
import { loadAuthority } from "./root.ts";
import { verifyClusterCa } from "./verify-chain.ts";

/** A cluster's own CA, with which it mints the identities of its workloads without asking anybody. */
export interface ClusterCa extends ClusterCaCertificate {
  readonly privateKey: KeyObject;
}

/** The same, for those who only have to know it. */
export interface ClusterCaCertificate {
  readonly trustDomain: TrustDomain;
  readonly certificateDer: Buffer;
  readonly certificatePem: string;
  /** The certificate's subject, as certificates below it name their issuer. */
  readonly subjectDer: Buffer;
  /** SPKI, DER. */
  readonly publicKeyInfo: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Dates are not judged here: a cluster with an expired CA must still start, say so and renew. */
export function loadClusterCa(files: {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}): Result<ClusterCa, Problem> {
  const authority = loadAuthority(files);
  if (!authority.ok) return authority;
  const { certificate, privateKey } = authority.value;
  const ca = caOf(certificate);
  return ca.ok ? ok({ ...ca.value, privateKey }) : ca;
}

/** What everybody of the cluster may know of its CA. */
export function loadClusterCaCertificate(certificatePem: string): Result<ClusterCaCertificate, Problem> {
  const [der, ...others] = decodePem("CERTIFICATE", certificatePem) ?? [];
  const certificate = der === undefined || others.length > 0 ? undefined : parseCertificate(der);
  if (certificate?.ok !== true) return err(problem("state_unusable", "not one certificate in PEM"));
  return caOf(certificate.value);
}

/**
 * The certificate that was made of a request, for those who do not hold the key: it is for the request's key, of the trust
 * domain, and signed by an authority of its bundle.
 */
export function acceptClusterCa(request: {
  readonly certificatePem: string;
  readonly csrPem: string;
  readonly trustDomain: TrustDomain;
  readonly bundles: BundleIndex;
  readonly now: number;
}): Result<ClusterCaCertificate, Problem> {
  const { certificatePem, csrPem, trustDomain, bundles, now } = request;
  const unusable = (detail: string) => err(problem("state_unusable", detail));
  const csr = parseCsr(csrPem);
  if (!csr.ok) return csr;
  const ca = loadClusterCaCertificate(certificatePem);
  if (!ca.ok) return ca;
  if (ca.value.trustDomain !== trustDomain)
    return unusable(`the certificate is for ${ca.value.trustDomain}, ${trustDomain} was asked for`);
  if (!isKeyOf(ca.value, csr.value.publicKey)) return unusable("the certificate is for another key");
  const verified = verifyClusterCa(ca.value.certificateDer, trustDomain, bundles, now);
  return verified.ok ? ca : verified;
}

/** Whether a CA signs with the private half of this key. */
export function isKeyOf(
  { publicKeyInfo }: Pick<ClusterCaCertificate, "publicKeyInfo">,
  publicKey: KeyObject,
): boolean {
  return publicKeyInfo.equals(publicKey.export({ type: "spki", format: "der" }));
}

function caOf(certificate: Certificate): Result<ClusterCaCertificate, Problem> {
  const [uri, ...others] = certificate.names.uris;
  const id = parseSpiffeId(uri ?? "");
  if (others.length > 0 || !id.ok || id.value.path !== "") {
    return err(problem("state_unusable", "the CA certificate does not name exactly one trust domain"));
  }
  return ok({
    trustDomain: id.value.trustDomain,
    certificateDer: certificate.der,
    certificatePem: encodePem("CERTIFICATE", certificate.der),
    subjectDer: certificate.subject,
    publicKeyInfo: certificate.publicKeyInfo,
    notBeforeMs: certificate.notBeforeMs,
    notAfterMs: certificate.notAfterMs,
  });
}
