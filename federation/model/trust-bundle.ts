import type { TrustDomain } from "./spiffe-id.ts";

/** X.509 authorities of exactly one trust domain; bundles of different domains are never merged (SPIFFE Federation §4). */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** `spiffe_sequence`: grows with every change; a lower one is refused. */
  readonly sequence: number;
  /** DER certificates, base64 (standard alphabet with padding, as JWK `x5c`). */
  readonly x509Authorities: readonly string[];
  /**
   * Certificates of CAs below the authorities, base64 DER. They only help to build a chain whose middle is not at hand, and
   * are trusted for nothing by themselves. (Node 24.21 tells a server only the leaf of a client's chain, nodejs/node 65579.)
   */
  readonly intermediates?: readonly string[];
}
