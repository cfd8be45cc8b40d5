import { createPublicKey } from "node:crypto";
import { parseCertificate } from "../../federation/trust/certificate.ts";
import { encodePem, privateKeyToPem } from "../../federation/trust/index.ts";
import { distinguishedName, issueCertificate } from "../../federation/trust/issue-certificate.ts";
import { createP256Key } from "../../federation/trust/keys.ts";
import { unwrap } from "./pki.ts";

const HOUR_MS = 3_600_000;

/** A certificate with its key, as files hold it. */
export interface Pair {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

export interface LeafOptions {
  readonly dns?: readonly string[];
  readonly uris?: readonly string[];
  readonly commonName?: string;
  readonly notBeforeMs?: number;
  readonly notAfterMs?: number;
}

/** A CA of the outside world: of a public site, of a partner, of a gateway's clients. */
export interface OutsideCa extends Pair {
  issue(leaf: LeafOptions): Pair;
}

export function createOutsideCa(name: string): OutsideCa {
  const now = Date.now();
  const privateKey = createP256Key();
  const der = issueCertificate({
    subject: distinguishedName(name),
    publicKey: createPublicKey(privateKey),
    issuer: undefined,
    signingKey: privateKey,
    notBeforeMs: now - HOUR_MS,
    notAfterMs: now + 24 * HOUR_MS,
    ca: {},
    keyUsage: ["keyCertSign", "cRLSign"],
    extendedKeyUsage: [],
    uriSans: [],
    dnsSans: [],
    permittedUriHosts: [],
  });
  const issuer = { subjectDer: unwrap(parseCertificate(der)).subject };
  return {
    certificatePem: encodePem("CERTIFICATE", der),
    privateKeyPem: privateKeyToPem(privateKey),
    issue({ dns = [], uris = [], commonName, notBeforeMs, notAfterMs }) {
      const key = createP256Key();
      const leaf = issueCertificate({
        subject: distinguishedName(commonName ?? dns[0] ?? "leaf"),
        publicKey: createPublicKey(key),
        issuer,
        signingKey: privateKey,
        notBeforeMs: notBeforeMs ?? now - HOUR_MS,
        notAfterMs: notAfterMs ?? now + HOUR_MS,
        ca: undefined,
        keyUsage: ["digitalSignature"],
        extendedKeyUsage: ["serverAuth", "clientAuth"],
        uriSans: uris,
        dnsSans: dns,
        permittedUriHosts: [],
      });
      return { certificatePem: encodePem("CERTIFICATE", leaf), privateKeyPem: privateKeyToPem(key) };
    },
  };
}
