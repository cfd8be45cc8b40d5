import { constants } from "node:crypto";
import type { SecureContextOptions, TLSSocket } from "node:tls";
import type { Credential } from "../../../federation/trust/index.ts";
import type { PeerTrust } from "../identity/peer-trust.ts";

/** ALPN of every tunnel. */
export const TUNNEL_ALPN = ["h2"];

/**
 * TLS 1.3 only, no tickets (a resumed session would skip the identity check), AES-128-GCM first since it is the cheapest
 * with AES instructions. `ca` only makes OpenSSL ask for and build chains; verifyPeer decides.
 */
export function secureContextOptions(credential: Credential, trust: PeerTrust): SecureContextOptions {
  return {
    key: credential.privateKeyPem,
    cert: credential.chainPem,
    ca: [...trust.authoritiesPem],
    minVersion: "TLSv1.3",
    ciphers: "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256",
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

// Longer than any chain we accept; ends the walk when certificates name each other in a circle.
const MAX_WALK = 6;

/** The certificates the other end sent, leaf first, as DER. */
export function peerChain(socket: TLSSocket): readonly Uint8Array[] {
  const chain: Uint8Array[] = [];
  let certificate = socket.getPeerX509Certificate();
  while (certificate !== undefined && chain.length < MAX_WALK) {
    const { raw } = certificate;
    if (chain.some((earlier) => raw.equals(earlier))) break;
    chain.push(raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}
