import asn1 from "node-forge/lib/asn1.js";

/** Every object identifier we issue or understand. What is not here is unknown, and refused where it is critical. */
export const OIDS = {
  ecPublicKey: "1.2.840.10045.2.1",
  p256: "1.2.840.10045.3.1.7",
  ecdsaWithSha256: "1.2.840.10045.4.3.2",
  organizationName: "2.5.4.10",
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  nameConstraints: "2.5.29.30",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
  extensionRequest: "1.2.840.113549.1.9.14",
} as const;

export type OidName = keyof typeof OIDS;

const NAMES = Object.keys(OIDS) as OidName[];
const NAME_BY_BODY = new Map(NAMES.map((name) => [oidBody(OIDS[name]), name]));

/** The contents octets of an identifier in dotted form, one character per byte as forge has it. */
export function oidBody(dotted: string): string {
  return asn1.oidToDer(dotted).getBytes();
}

/** Which known identifier these contents octets are. */
export function oidName(body: Buffer): OidName | undefined {
  return NAME_BY_BODY.get(body.toString("latin1"));
}
