import { createPublicKey, type KeyObject } from "node:crypto";
import type { SpiffeId } from "../model/spiffe-id.ts";
import type { ClusterCa } from "./cluster-ca.ts";
import { issueCertificate } from "./issue-certificate.ts";
import { createP256Key, privateKeyToPem } from "./keys.ts";
import { encodePem } from "./pem.ts";
import { BACKDATE_MS } from "./root.ts";

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
  const { ca, spiffeId, now } = request;
  if (spiffeId.trustDomain !== ca.trustDomain || spiffeId.path === "") {
    throw new TypeError(`the CA of ${ca.trustDomain} does not issue ${spiffeId.uri}`);
  }
  const privateKey = createP256Key();
  const notBeforeMs = wholeSeconds(now - BACKDATE_MS);
  const notAfterMs = wholeSeconds(Math.min(now + (request.lifetimeMs ?? SVID_LIFETIME_MS), ca.notAfterMs));
  const leaf = issueCertificate({
    subject: undefined,
    publicKey: createPublicKey(privateKey),
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
  return {
    spiffeId,
    chainDer: [leaf, ca.certificateDer],
    chainPem: encodePem("CERTIFICATE", leaf) + ca.certificatePem,
    privateKey,
    privateKeyPem: privateKeyToPem(privateKey),
    notBeforeMs,
    notAfterMs,
  };
}

/**
 * Half of the life leaves the other half to repair whatever stops the renewal. `jitter` (0 to 1) spreads a fleet that
 * was started together over a tenth of the life, so that it does not renew together for ever.
 */
export function shouldRotate(
  credential: { readonly notBeforeMs: number; readonly notAfterMs: number },
  now: number,
  jitter: number,
): boolean {
  const life = credential.notAfterMs - credential.notBeforeMs;
  return now >= credential.notBeforeMs + life * (0.45 + 0.1 * jitter);
}

/** Certificates have whole seconds: a credential claims no more than they say. */
function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
