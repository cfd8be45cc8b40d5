import { createPublicKey, type KeyObject, sign } from "node:crypto";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { parseTrustDomain, type TrustDomain, trustDomainSpiffeId } from "../model/spiffe-id.ts";
import { type Certificate, importPublicKey, parseCertificate } from "./certificate.ts";
import { parseCsr } from "./csr.ts";
import {
  certificateToSign,
  distinguishedName,
  issueCertificate,
  type UnsignedSpec,
} from "./issue-certificate.ts";
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

/** A root whose key may lie in a key management service: it is asked to sign and never seen. */
export interface RootSigner {
  readonly certificateDer: Buffer;
  readonly subjectDer: Buffer;
  readonly publicKey: KeyObject;
  readonly notAfterMs: number;
  /** ECDSA with SHA-256 over `tbs`, in DER. */
  sign(tbs: Buffer): Promise<Buffer>;
}

export function localRootSigner(root: Root): RootSigner {
  const { certificateDer, subjectDer, notAfterMs, privateKey } = root;
  return {
    certificateDer,
    subjectDer,
    publicKey: createPublicKey(privateKey),
    notAfterMs,
    sign: async (tbs) => sign("sha256", tbs, privateKey),
  };
}

/** The root of a key that lies elsewhere; refused where certificate and key do not belong together. */
export function loadRootSigner(options: {
  readonly certificatePem: string;
  /** SPKI, DER. */
  readonly publicKeyDer: Uint8Array;
  readonly sign: RootSigner["sign"];
}): Result<RootSigner, Problem> {
  const certificate = loadCaCertificate(options.certificatePem);
  if (!certificate.ok) return certificate;
  const { der, subject, notAfterMs, publicKeyInfo } = certificate.value;
  if (!publicKeyInfo.equals(options.publicKeyDer))
    return err(problem("state_unusable", "the root certificate and the managed key do not belong together"));
  const publicKey = importPublicKey(publicKeyInfo);
  if (publicKey === undefined) return err(problem("state_unusable", "the root's key is not on its curve"));
  return ok({ certificateDer: der, subjectDer: subject, publicKey, notAfterMs, sign: options.sign });
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
  const privateKey = createP256Key();
  const spec = rootSpec({ ...options, publicKey: createPublicKey(privateKey) });
  const der = issueCertificate({ ...spec, signingKey: privateKey });
  return { certificatePem: encodePem("CERTIFICATE", der), privateKeyPem: privateKeyToPem(privateKey) };
}

/** The certificate of a new root, in PEM, whose key lies elsewhere and signs through `sign`. */
export async function createRootWith(options: {
  readonly federation: string;
  readonly now: number;
  readonly publicKey: KeyObject;
  readonly sign: RootSigner["sign"];
}): Promise<string> {
  const { tbs, withSignature } = certificateToSign(rootSpec(options));
  return encodePem("CERTIFICATE", withSignature(await options.sign(tbs)));
}

function rootSpec(options: {
  readonly federation: string;
  readonly now: number;
  readonly lifetimeMs?: number;
  readonly publicKey: KeyObject;
}): UnsignedSpec {
  const name = parseTrustDomain(options.federation);
  if (!name.ok) throw new TypeError(name.error);
  return {
    subject: distinguishedName(`${name.value} root`),
    publicKey: options.publicKey,
    issuer: undefined,
    issuerKey: options.publicKey,
    notBeforeMs: options.now - BACKDATE_MS,
    notAfterMs: options.now + (options.lifetimeMs ?? ROOT_LIFETIME_MS),
    ca: {},
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [],
    uriSans: [trustDomainSpiffeId(name.value).uri],
    dnsSans: [],
    permittedUriHosts: [],
  };
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
  const certificate = loadCaCertificate(files.certificatePem);
  if (!certificate.ok) return certificate;
  const key = privateKeyFromPem(files.privateKeyPem);
  if (!key.ok) return key;
  const certified = importPublicKey(certificate.value.publicKeyInfo);
  if (certified === undefined || !certified.equals(createPublicKey(key.value))) {
    return err(problem("state_unusable", "the CA certificate and the private key do not belong together"));
  }
  return ok({ certificate: certificate.value, privateKey: key.value });
}

function loadCaCertificate(pem: string): Result<Certificate, Problem> {
  const unusable = (detail: string) => err(problem("state_unusable", detail));
  const [der, ...others] = decodePem("CERTIFICATE", pem) ?? [];
  if (der === undefined || others.length > 0)
    return unusable("the CA file does not hold one PEM certificate");
  const certificate = parseCertificate(der);
  if (!certificate.ok) return unusable(`the CA certificate cannot be read: ${certificate.error}`);
  return certificate.value.isCa ? certificate : unusable("the certificate is not that of a CA");
}

interface ClusterCaRequest {
  readonly csrPem: string;
  readonly trustDomain: TrustDomain;
  readonly now: number;
  readonly lifetimeMs?: number;
}

/**
 * The CA certificate of one cluster: it can sign workloads of `trustDomain` and nothing else. Path length 0 stops it
 * from making further CAs, the name constraint from naming another trust domain.
 */
export function issueClusterCa(request: ClusterCaRequest & { readonly root: Root }): Result<string, Problem> {
  const spec = clusterCaSpec(request, localRootSigner(request.root));
  if (!spec.ok) return spec;
  const der = issueCertificate({ ...spec.value, signingKey: request.root.privateKey });
  return ok(encodePem("CERTIFICATE", der));
}

/** The same with a root that signs elsewhere; DER. */
export async function issueClusterCaWith(
  request: ClusterCaRequest & { readonly root: RootSigner },
): Promise<Result<Buffer, Problem>> {
  const spec = clusterCaSpec(request, request.root);
  if (!spec.ok) return spec;
  const { tbs, withSignature } = certificateToSign(spec.value);
  return ok(withSignature(await request.root.sign(tbs)));
}

function clusterCaSpec(
  request: ClusterCaRequest,
  root: Pick<RootSigner, "subjectDer" | "notAfterMs" | "publicKey">,
): Result<UnsignedSpec, Problem> {
  const { trustDomain, now } = request;
  const csr = parseCsr(request.csrPem);
  if (!csr.ok) return csr;
  const { uri } = trustDomainSpiffeId(trustDomain);
  if (csr.value.spiffeUri !== uri) {
    return err(problem("csr_invalid", `the request asks for ${csr.value.spiffeUri}, this cluster is ${uri}`));
  }
  return ok({
    subject: distinguishedName(trustDomain),
    publicKey: csr.value.publicKey,
    issuer: root,
    issuerKey: root.publicKey,
    notBeforeMs: now - BACKDATE_MS,
    notAfterMs: Math.min(now + (request.lifetimeMs ?? CLUSTER_CA_LIFETIME_MS), root.notAfterMs),
    ca: { pathLength: 0 },
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [],
    uriSans: [uri],
    dnsSans: [],
    permittedUriHosts: [trustDomain],
  });
}
