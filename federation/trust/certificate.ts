import { createPublicKey, type KeyObject, verify } from "node:crypto";
import { err, ok, type Result } from "../model/result.ts";
import {
  children,
  DerError,
  type DerNode,
  expect,
  readBitString,
  readDer,
  readInteger,
  readSmallInteger,
  readTime,
  TAG,
} from "./der.ts";
import { type Extensions, readExtensions } from "./extensions.ts";
import { POINT_BYTES } from "./keys.ts";
import { oidName } from "./oids.ts";

/** What a certificate says, read strictly and not yet judged. Views of the DER it came from. */
export interface Certificate extends Extensions {
  readonly der: Buffer;
  readonly tbs: Buffer;
  readonly signature: Buffer;
  /** Whole name elements: names are compared as bytes. */
  readonly issuer: Buffer;
  readonly subject: Buffer;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKeyInfo: Buffer;
}

/** Ours have 500 to 700 bytes. The bound keeps a verdict cheap, whatever the certificate holds. */
export const MAX_CERTIFICATE_BYTES = 8192;

/** Only version 3, P-256, ECDSA with SHA-256: anything else is an error with its reason. */
export function parseCertificate(der: Uint8Array): Result<Certificate> {
  if (der.length > MAX_CERTIFICATE_BYTES) {
    return err(`it has ${der.length} bytes, more than ${MAX_CERTIFICATE_BYTES}`);
  }
  try {
    return ok(readCertificate(Buffer.from(der.buffer, der.byteOffset, der.length)));
  } catch (cause) {
    if (cause instanceof DerError) return err(cause.message);
    throw cause;
  }
}

function readCertificate(der: Buffer): Certificate {
  const [tbs, algorithm, signature, ...rest] = children(expect(readDer(der), TAG.sequence, "a certificate"));
  if (tbs === undefined || rest.length > 0) throw new DerError("a certificate has three parts");
  const [version, serial, inner, issuer, validity, subject, keyInfo, extensions, ...more] = children(tbs);
  if (more.length > 0) throw new DerError("unique identifiers are not used");
  expectVersion3(version);
  expectSerial(serial);
  expectAlgorithm(inner, "the inner signature algorithm");
  expectAlgorithm(algorithm, "the signature algorithm");
  const [notBefore, notAfter, ...times] = children(expect(validity, TAG.sequence, "the validity"));
  if (times.length > 0) throw new DerError("a validity has two times");
  return {
    ...readExtensions(expect(extensions, 0xa3, "the extensions")),
    der,
    tbs: tbs.bytes,
    signature: wholeBytes(signature, "the signature"),
    issuer: expect(issuer, TAG.sequence, "the issuer").bytes,
    subject: expect(subject, TAG.sequence, "the subject").bytes,
    notBeforeMs: readTime(notBefore),
    notAfterMs: readTime(notAfter),
    publicKeyInfo: readPublicKeyInfo(keyInfo).bytes,
  };
}

function expectVersion3(node: DerNode | undefined): void {
  const [version, ...rest] = children(expect(node, 0xa0, "the version"));
  if (rest.length > 0 || readSmallInteger(version, "the version") !== 2) throw new DerError("not version 3");
}

function expectSerial(node: DerNode | undefined): void {
  const body = readInteger(node, "the serial number");
  if (body.length > 20) throw new DerError("the serial number has more than 20 bytes");
  if ((body[0] ?? 0) >= 0x80 || (body.length === 1 && body[0] === 0)) {
    throw new DerError("the serial number is not positive");
  }
}

export function expectAlgorithm(node: DerNode | undefined, what: string): void {
  const [name, ...parameters] = children(expect(node, TAG.sequence, what));
  if (oidName(expect(name, TAG.oid, what).body) !== "ecdsaWithSha256" || parameters.length > 0) {
    throw new DerError(`${what} is not ECDSA with SHA-256`);
  }
}

export function wholeBytes(node: DerNode | undefined, what: string): Buffer {
  const { bits, unused } = readBitString(node, what);
  if (unused !== 0) throw new DerError(`${what} is not whole bytes`);
  return bits;
}

/** An uncompressed point on P-256; whether it lies on the curve shows when the key is used. */
export function readPublicKeyInfo(node: DerNode | undefined): DerNode {
  const info = expect(node, TAG.sequence, "the public key");
  const [algorithm, key, ...rest] = children(info);
  const [type, curve, ...more] = children(expect(algorithm, TAG.sequence, "the public key's algorithm"));
  const point = wholeBytes(key, "the public key");
  if (
    rest.length > 0 ||
    more.length > 0 ||
    oidName(expect(type, TAG.oid, "the public key's type").body) !== "ecPublicKey" ||
    oidName(expect(curve, TAG.oid, "the public key's curve").body) !== "p256" ||
    point.length !== POINT_BYTES ||
    point[0] !== 4
  ) {
    throw new DerError("the public key is not an uncompressed P-256 point");
  }
  return info;
}

/** `undefined` for a point that is not on the curve. */
export function importPublicKey(publicKeyInfo: Buffer): KeyObject | undefined {
  try {
    return createPublicKey({ key: publicKeyInfo, format: "der", type: "spki" });
  } catch {
    return undefined;
  }
}

export function isSignedBy(certificate: Certificate, key: KeyObject): boolean {
  return verify("sha256", certificate.tbs, key, certificate.signature);
}
