import { createPublicKey, type KeyObject } from "node:crypto";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { parseTrustDomain, type TrustDomain, trustDomainSpiffeId } from "../model/spiffe-id.ts";
import { type Certificate, importPublicKey, parseCertificate } from "./certificate.ts";
import { parseCsr } from "./csr.ts";
import { distinguishedName, issueCertificate } from "./issue-certificate.ts";
import { createP256Key, privateKeyFromPem, privateKeyToPem } from "./keys.ts";
import { decodePem, encodePem } from "./pem.ts";

/** The authority that signs the clusters' CAs: the only key whose loss means starting again. */
export interface Root {
  readonly certificateDer: Buffer;
  readonly certificatePem: string;
  /** The certificate's subject, as certificates below it name their issuer. */
  readonly subjectDer: Buffer;
  readonly privateKey: KeyObject;
  readonly notAfterMs: number;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Certificates begin a minute ago, so that a verifier whose clock is a little behind accepts a new one at once. */
export const BACKDATE_MS = 60_000;

// Ten years, as SPIRE's and Istio's self-made roots: rotation is planned, never forced by a forgotten date.
const ROOT_LIFETIME_MS = 3650 * DAY_MS;

// A cluster outlives its registry by this long, less what has passed since its last renewal at half of it.
const CLUSTER_CA_LIFETIME_MS = 90 * DAY_MS;

/** `federation` is a trust domain name already; another one is a fault of the caller. */
export function createRoot(options: {
  readonly federation: string;
  readonly now: number;
  readonly lifetimeMs?: number;
}): { readonly certificatePem: string; readonly privateKeyPem: string } {
  const name = parseTrustDomain(options.federation);
  if (!name.ok) throw new TypeError(name.error);
  const privateKey = createP256Key();
  const der = issueCertificate({
    subject: distinguishedName(`${name.value} root`),
    publicKey: createPublicKey(privateKey),
    issuer: undefined,
    signingKey: privateKey,
    notBeforeMs: options.now - BACKDATE_MS,
    notAfterMs: options.now + (options.lifetimeMs ?? ROOT_LIFETIME_MS),
    ca: {},
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [],
    uriSans: [trustDomainSpiffeId(name.value).uri],
    dnsSans: [],
    permittedUriHosts: [],
  });
  return { certificatePem: encodePem("CERTIFICATE", der), privateKeyPem: privateKeyToPem(privateKey) };
}

export function loadRoot(files: {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}): Result<Root, Problem> {
  const authority = loadAuthority(files);
  if (!authority.ok) return authority;
  const { certificate, privateKey } = authority.value;
  return ok({
    certificateDer: certificate.der,
    certificatePem: encodePem("CERTIFICATE", certificate.der),
    subjectDer: certificate.subject,
    privateKey,
    notAfterMs: certificate.notAfterMs,
  });
}

/** A CA certificate and its key, as they lie on disk: both whole, and belonging together. */
export function loadAuthority(files: {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}): Result<{ readonly certificate: Certificate; readonly privateKey: KeyObject }, Problem> {
  const unusable = (detail: string) => err(problem("state_unusable", detail));
  const [der, ...others] = decodePem("CERTIFICATE", files.certificatePem) ?? [];
  if (der === undefined || others.length > 0)
    return unusable("the CA file does not hold one PEM certificate");
  const certificate = parseCertificate(der);
  if (!certificate.ok) return unusable(`the CA certificate cannot be read: ${certificate.error}`);
  if (!certificate.value.isCa) return unusable("the certificate is not that of a CA");
  const key = privateKeyFromPem(files.privateKeyPem);
  if (!key.ok) return key;
  const certified = importPublicKey(certificate.value.publicKeyInfo);
  if (certified === undefined || !certified.equals(createPublicKey(key.value))) {
    return unusable("the CA certificate and the private key do not belong together");
  }
  return ok({ certificate: certificate.value, privateKey: key.value });
}

/**
 * The CA certificate of one cluster: it can sign workloads of `trustDomain` and nothing else. Path length 0 stops it
 * from making further CAs, the name constraint from naming another trust domain.
 */
export function issueClusterCa(request: {
  readonly root: Root;
  readonly csrPem: string;
  readonly trustDomain: TrustDomain;
  readonly now: number;
  readonly lifetimeMs?: number;
}): Result<string, Problem> {
  const { root, trustDomain, now } = request;
  const csr = parseCsr(request.csrPem);
  if (!csr.ok) return csr;
  const { uri } = trustDomainSpiffeId(trustDomain);
  if (csr.value.spiffeUri !== uri) {
    return err(problem("csr_invalid", `the request asks for ${csr.value.spiffeUri}, this cluster is ${uri}`));
  }
  const der = issueCertificate({
    subject: distinguishedName(trustDomain),
    publicKey: csr.value.publicKey,
    issuer: root,
    signingKey: root.privateKey,
    notBeforeMs: now - BACKDATE_MS,
    notAfterMs: Math.min(now + (request.lifetimeMs ?? CLUSTER_CA_LIFETIME_MS), root.notAfterMs),
    ca: { pathLength: 0 },
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [],
    uriSans: [uri],
    dnsSans: [],
    permittedUriHosts: [trustDomain],
  });
  return ok(encodePem("CERTIFICATE", der));
}
