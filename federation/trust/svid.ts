import { createPublicKey, type KeyObject } from "node:crypto";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { SpiffeId } from "../model/spiffe-id.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { parseCertificate } from "./certificate.ts";
import type { ClusterCa } from "./cluster-ca.ts";
import { issueCertificate } from "./issue-certificate.ts";
import { createP256Key, privateKeyToPem } from "./keys.ts";
import { decodePem, encodePem } from "./pem.ts";
import { BACKDATE_MS } from "./root.ts";
import { type VerifiedChain, verifyChain } from "./verify-chain.ts";

/** A workload's X509-SVID and its private key. */
export interface Credential {
  readonly spiffeId: SpiffeId;
  /** The leaf, then the cluster's CA. */
  readonly chainDer: readonly Buffer[];
  readonly chainPem: string;
  readonly privateKey: KeyObject;
  readonly privateKeyPem: string;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

const SVID_LIFETIME_MS = 3_600_000;

/** A new key with every SVID; it never leaves this process. The SVID ends with its CA at the latest. */
export function issueSvid(request: {
  readonly ca: ClusterCa;
  readonly spiffeId: SpiffeId;
  readonly now: number;
  readonly lifetimeMs?: number;
  readonly dnsSans?: readonly string[];
}): Credential {
  const privateKey = createP256Key();
  const signed = signSvid({ ...request, publicKey: createPublicKey(privateKey) });
  return credentialOf(request.spiffeId, signed, privateKey);
}

/** An SVID for a key that somebody else holds. */
export interface SignedSvid {
  /** The leaf, then the cluster's CA. */
  readonly chainDer: readonly Buffer[];
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** The SVID ends with its CA at the latest. */
export function signSvid(request: {
  readonly ca: ClusterCa;
  readonly spiffeId: SpiffeId;
  readonly publicKey: KeyObject;
  readonly now: number;
  readonly lifetimeMs?: number;
  readonly dnsSans?: readonly string[];
}): SignedSvid {
  const { ca, spiffeId, now, publicKey } = request;
  if (spiffeId.trustDomain !== ca.trustDomain || spiffeId.path === "") {
    throw new TypeError(`the CA of ${ca.trustDomain} does not issue ${spiffeId.uri}`);
  }
  const notBeforeMs = wholeSeconds(now - BACKDATE_MS);
  const notAfterMs = wholeSeconds(Math.min(now + (request.lifetimeMs ?? SVID_LIFETIME_MS), ca.notAfterMs));
  const leaf = issueCertificate({
    subject: undefined,
    publicKey,
    issuer: ca,
    signingKey: ca.privateKey,
    notBeforeMs,
    notAfterMs,
    ca: undefined,
    keyUsage: ["digitalSignature"],
    extendedKeyUsage: ["serverAuth", "clientAuth"],
    uriSans: [spiffeId.uri],
    dnsSans: request.dnsSans ?? [],
    permittedUriHosts: [],
  });
  return { chainDer: [leaf, ca.certificateDer], notBeforeMs, notAfterMs };
}

/**
 * What an issuer answered, judged before it is used: the chain verifies, names who asked, and is for the key that was made
 * here. Answers why not.
 */
export function acceptSvid(
  request: Omit<IssuedChain, "publicKey"> & { readonly chainPem: string; readonly privateKey: KeyObject },
): Result<Credential, Problem> {
  const { chainPem, spiffeId, privateKey, now } = request;
  const chainDer = decodePem("CERTIFICATE", chainPem);
  if (chainDer === undefined) return unusable("the issuer's answer holds no certificates");
  const verified = verifyIssuedChain(chainDer, { ...request, publicKey: createPublicKey(privateKey) });
  if (!verified.ok) return verified;
  const [leaf] = chainDer;
  const parsed = leaf === undefined ? undefined : parseCertificate(leaf);
  const notBeforeMs = parsed?.ok === true ? parsed.value.notBeforeMs : now;
  return ok(
    credentialOf(spiffeId, { chainDer, notBeforeMs, notAfterMs: verified.value.notAfterMs }, privateKey),
  );
}

/** What was asked for, and by which bundles the answer is judged. */
export interface IssuedChain {
  readonly spiffeId: SpiffeId;
  readonly publicKey: KeyObject;
  readonly bundles: BundleIndex;
  readonly now: number;
}

export function verifyIssuedChain(
  chainDer: readonly Uint8Array[],
  { spiffeId, publicKey, bundles, now }: IssuedChain,
): Result<VerifiedChain, Problem> {
  const verified = verifyChain(chainDer, bundles, now);
  if (!verified.ok) return verified;
  if (verified.value.spiffeId.uri !== spiffeId.uri)
    return unusable(`asked for ${spiffeId.uri}, got ${verified.value.spiffeId.uri}`);
  const asked = publicKey.export({ type: "spki", format: "der" });
  return verified.value.publicKeyInfo.equals(asked)
    ? verified
    : unusable("the certificate is for another key");
}

function unusable(detail: string): Result<never, Problem> {
  return err(problem("identity_unusable", detail));
}

function credentialOf(spiffeId: SpiffeId, signed: SignedSvid, privateKey: KeyObject): Credential {
  return {
    spiffeId,
    ...signed,
    chainPem: svidPem(signed),
    privateKey,
    privateKeyPem: privateKeyToPem(privateKey),
  };
}

export function svidPem({ chainDer }: Pick<SignedSvid, "chainDer">): string {
  return chainDer.map((der) => encodePem("CERTIFICATE", der)).join("");
}

/**
 * Half of the life leaves the other half to repair whatever stops the renewal. `jitter` (0 to 1) spreads a fleet that
 * was started together over a tenth of the life, so that it does not renew together for ever.
 */
export function rotationDueMs(life: Life, jitter: number): number {
  return life.notBeforeMs + (life.notAfterMs - life.notBeforeMs) * (0.45 + 0.1 * jitter);
}

export function shouldRotate(life: Life, now: number, jitter: number): boolean {
  return now >= rotationDueMs(life, jitter);
}

type Life = Pick<Credential, "notBeforeMs" | "notAfterMs">;

/** Certificates have whole seconds: a credential claims no more than they say. */
function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
