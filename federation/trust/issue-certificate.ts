import { createHash, type KeyObject, randomBytes, sign } from "node:crypto";
import {
  bitString,
  type DerItem,
  encodeDer,
  existing,
  integer,
  integerBytes,
  isTrue,
  octetString,
  oid,
  oidOf,
  sequence,
  setOf,
  tagged,
  taggedBytes,
  time,
  utf8String,
} from "./der-write.ts";
import { keyIdentifier, publicPoint } from "./keys.ts";
import type { OidName } from "./oids.ts";

/** Bit numbers of RFC 5280 §4.2.1.3. */
export const KEY_USAGE_BITS = {
  digitalSignature: 0,
  nonRepudiation: 1,
  keyEncipherment: 2,
  dataEncipherment: 3,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;
export type KeyUsage = keyof typeof KEY_USAGE_BITS;

export interface CertificateSpec {
  /** `undefined`: an empty subject, which makes the alternative names critical. */
  readonly subject: DerItem | undefined;
  readonly publicKey: KeyObject;
  /** `undefined`: self-signed. */
  readonly issuer: { readonly subjectDer: Buffer } | undefined;
  readonly signingKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** `undefined`: a leaf. */
  readonly ca: { readonly pathLength?: number } | undefined;
  readonly keyUsage: readonly KeyUsage[];
  readonly extendedKeyUsage: readonly OidName[];
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  /** Hosts of the URIs that certificates below this one may name; empty for no constraint. */
  readonly permittedUriHosts: readonly string[];
  /** Tests make certificates with extensions that nobody knows. */
  readonly extra?: readonly { readonly oid: string; readonly critical: boolean; readonly value: Buffer }[];
}

/** `issuerKey` may be public: the signature is made elsewhere. */
export type UnsignedSpec = Omit<CertificateSpec, "signingKey"> & { readonly issuerKey: KeyObject };

/** One P-256 certificate in DER. What goes into it is the caller's decision; see root.ts, cluster-ca.ts and svid.ts. */
export function issueCertificate(spec: CertificateSpec): Buffer {
  const { tbs, withSignature } = certificateToSign({ ...spec, issuerKey: spec.signingKey });
  return withSignature(sign("sha256", tbs, spec.signingKey));
}

/** A certificate but for its signature, for keys that lie elsewhere: `tbs` is what is signed, ECDSA in DER is put in. */
export function certificateToSign(spec: UnsignedSpec): {
  readonly tbs: Buffer;
  readonly withSignature: (signature: Buffer) => Buffer;
} {
  const algorithm = sequence(oid("ecdsaWithSha256"));
  const subject = spec.subject ?? sequence();
  const point = publicPoint(spec.publicKey);
  const tbs = sequence(
    tagged(0, integer(2)),
    integerBytes(randomSerial()),
    algorithm,
    spec.issuer === undefined ? subject : existing(spec.issuer.subjectDer),
    sequence(time(spec.notBeforeMs), time(spec.notAfterMs)),
    subject,
    publicKeyInfo(point),
    tagged(3, sequence(...extensions(spec, point))),
  );
  return {
    tbs: encodeDer(tbs),
    withSignature: (signature) => encodeDer(sequence(tbs, algorithm, bitString(signature))),
  };
}

export function publicKeyInfo(point: Buffer): DerItem {
  return sequence(sequence(oid("ecPublicKey"), oid("p256")), bitString(point));
}

// ub-common-name of RFC 5280, appendix A; a trust domain may be four times as long.
const MAX_COMMON_NAME = 64;

/** `O=Isthmus, CN=<name>`: for people who read certificates; nothing is decided by it. */
export function distinguishedName(name: string): DerItem {
  const digest = createHash("sha256").update(name).digest("hex").slice(0, 16);
  const commonName = name.length <= MAX_COMMON_NAME ? name : `${name.slice(0, 47)}-${digest}`;
  const attribute = (type: OidName, value: string) => setOf(sequence(oid(type), utf8String(value)));
  return sequence(attribute("organizationName", "Isthmus"), attribute("commonName", commonName));
}

/** 159 random bits: at most 20 bytes, positive, never zero, in the shortest form (RFC 5280 §4.1.2.2). */
function randomSerial(): Buffer {
  const serial = randomBytes(20);
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40;
  return serial;
}

function extensions(spec: UnsignedSpec, point: Buffer): DerItem[] {
  const list = [
    extension("basicConstraints", true, basicConstraints(spec.ca)),
    extension("keyUsage", true, keyUsage(spec.keyUsage)),
    extension("subjectKeyIdentifier", false, octetString(keyIdentifier(point))),
    extension(
      "authorityKeyIdentifier",
      false,
      sequence(taggedBytes(0, keyIdentifier(publicPoint(spec.issuerKey)))),
    ),
  ];
  if (spec.extendedKeyUsage.length > 0) {
    list.push(extension("extendedKeyUsage", false, sequence(...spec.extendedKeyUsage.map(oid))));
  }
  const names = subjectAltName(spec.uriSans, spec.dnsSans);
  if (names !== undefined) list.push(extension("subjectAltName", spec.subject === undefined, names));
  if (spec.permittedUriHosts.length > 0) {
    const subtrees = spec.permittedUriHosts.map((host) =>
      sequence(taggedBytes(6, Buffer.from(host, "latin1"))),
    );
    list.push(extension("nameConstraints", true, sequence(tagged(0, ...subtrees))));
  }
  for (const { oid: dotted, critical, value } of spec.extra ?? []) {
    list.push(sequence(oidOf(dotted), ...(critical ? [isTrue()] : []), octetString(value)));
  }
  return list;
}

function extension(name: OidName, critical: boolean, value: DerItem): DerItem {
  return sequence(oid(name), ...(critical ? [isTrue()] : []), octetString(encodeDer(value)));
}

function basicConstraints(ca: CertificateSpec["ca"]): DerItem {
  if (ca === undefined) return sequence();
  return ca.pathLength === undefined ? sequence(isTrue()) : sequence(isTrue(), integer(ca.pathLength));
}

/** A named bit list: zero bits at the end are not written (X.690 §11.2.2). */
function keyUsage(usages: readonly KeyUsage[]): DerItem {
  let octet = 0;
  for (const usage of usages) octet |= 0x80 >> KEY_USAGE_BITS[usage];
  if (octet === 0) return bitString(Buffer.alloc(0));
  const unused = Math.log2(octet & -octet);
  return bitString(Buffer.from([octet]), unused);
}

export function subjectAltName(uris: readonly string[], dnsNames: readonly string[]): DerItem | undefined {
  if (uris.length + dnsNames.length === 0) return undefined;
  return sequence(
    ...uris.map((uri) => taggedBytes(6, Buffer.from(uri, "latin1"))),
    ...dnsNames.map((name) => taggedBytes(2, Buffer.from(name, "latin1"))),
  );
}
