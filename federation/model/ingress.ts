import type { ExternalPath, SecretRef } from "./egress-policy.ts";

/** How callers from outside the federation reach an exported service at its own gateway, by HTTPS. */
export interface OutsideIngress {
  /** Exact names; SNI and Host must agree on one of them. */
  readonly hostnames: readonly string[];
  /** Absent: every path. */
  readonly paths?: readonly ExternalPath[];
  /** Of the service. */
  readonly port: number;
  readonly tls: {
    /** A secret of the gateway with `tls.crt` and `tls.key`. */
    readonly certificateRef: SecretRef;
    readonly clientValidation?: ClientValidation;
  };
}

export interface ClientValidation {
  /** Secrets of the gateway with `ca.crt`. */
  readonly caCertificateRefs: readonly SecretRef[];
  /** `Required`: without a valid certificate nothing is answered; `Optional`: the service decides. */
  readonly mode: "Required" | "Optional";
}
