import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";

/** Length of an uncompressed P-256 point: the mark and two coordinates. */
export const POINT_BYTES = 65;

export function createP256Key(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" }).privateKey;
}

export function privateKeyToPem(key: KeyObject): string {
  return key.export({ format: "pem", type: "pkcs8" }).toString();
}

/** PKCS #8 in PEM; P-256 only. The text never appears in the problem. */
export function privateKeyFromPem(pem: string): Result<KeyObject, Problem> {
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch {
    return err(problem("state_unusable", "the private key is not readable PEM: is the file whole?"));
  }
  return isP256(key) ? ok(key) : err(problem("state_unusable", "the private key is not P-256"));
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1";
}

/** The uncompressed point of a P-256 key, private or public: the last bytes of its SPKI. */
export function publicPoint(key: KeyObject): Buffer {
  const publicKey = key.type === "private" ? createPublicKey(key) : key;
  const spki = publicKey.export({ format: "der", type: "spki" });
  return spki.subarray(spki.length - POINT_BYTES);
}

/** Key identifier by RFC 7093 §2 method 1: no SHA-1. */
export function keyIdentifier(point: Buffer): Buffer {
  return createHash("sha256").update(point).digest().subarray(0, 20);
}

/** SPKI in DER, of a key that lies elsewhere. Throws where it is none: it comes from a service we chose. */
export function publicKeyFromDer(der: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.from(der), format: "der", type: "spki" });
}
