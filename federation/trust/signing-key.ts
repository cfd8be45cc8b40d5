import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from "node:crypto";
import type { JSONWebKeySet, JWK } from "jose";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { type CompactJws, isSignatureOf, parseJws, signJws } from "./jws.ts";
import { privateKeyToPem } from "./keys.ts";

/** The registry's own key: Ed25519, for snapshots, join tokens and operator tokens. Their types keep them apart. */
export interface SigningKey {
  /** RFC 7638 thumbprint, so that a key has one name everywhere. */
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicJwk: JWK;
}

export function createSigningKey(): { readonly privateKeyPem: string } {
  return { privateKeyPem: privateKeyToPem(generateKeyPairSync("ed25519").privateKey) };
}

export function loadSigningKey(privateKeyPem: string): Result<SigningKey, Problem> {
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey(privateKeyPem);
  } catch {
    return err(problem("state_unusable", "the signing key is not readable PEM: is the file whole?"));
  }
  if (privateKey.asymmetricKeyType !== "ed25519") {
    return err(problem("state_unusable", "the signing key is not Ed25519"));
  }
  const x = createPublicKey(privateKey).export({ format: "jwk" }).x ?? "";
  const kid = thumbprint(x);
  return ok({
    kid,
    privateKey,
    publicJwk: { kty: "OKP", crv: "Ed25519", x, kid, use: "sig", alg: "Ed25519" },
  });
}

/** Old and new key together while a rotation is under way; members pick by `kid`. */
export function signingKeySet(keys: readonly Pick<SigningKey, "publicJwk">[]): JSONWebKeySet {
  return { keys: keys.map((key) => key.publicJwk) };
}

export function signRegistryJws(key: SigningKey, typ: string, payload: string): string {
  return signJws("Ed25519", { typ, kid: key.kid }, payload, key.privateKey);
}

/** A JWS of the registry, of this type and signed with a key of this set; otherwise the reason. */
export function verifyRegistryJws(
  text: string,
  typ: string,
  keySet: JSONWebKeySet,
  maxLength: number,
): Result<CompactJws> {
  const jws = parseJws(text, { alg: "Ed25519", typ, members: ["kid"] }, maxLength);
  if (!jws.ok) return jws;
  const key = selectKey(keySet, jws.value.header["kid"]);
  if (!key.ok) return key;
  return isSignatureOf(jws.value, "Ed25519", key.value) ? jws : err("its signature does not verify");
}

/** The one key of this name, if it is meant for verifying signatures. */
function selectKey(keySet: JSONWebKeySet, kid: unknown): Result<KeyObject> {
  const [jwk, ...others] = keySet.keys.filter((key) => key.kid === kid);
  if (typeof kid !== "string" || jwk === undefined) return err("it was signed with a key that is not known");
  if (others.length > 0) return err("several keys have the name of the one it was signed with");
  if (jwk.kty !== "OKP" || jwk.crv !== "Ed25519" || typeof jwk.x !== "string")
    return err("its key is not Ed25519");
  const { use, alg, key_ops: operations } = jwk;
  const isForSignatures =
    (use === undefined || use === "sig") &&
    (alg === undefined || alg === "Ed25519" || alg === "EdDSA") &&
    (operations === undefined || operations.includes("verify"));
  if (!isForSignatures) return err("its key is not meant for signatures");
  try {
    return ok(createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: jwk.x }, format: "jwk" }));
  } catch {
    return err("its key cannot be read");
  }
}

function thumbprint(x: string): string {
  return createHash("sha256")
    .update(JSON.stringify({ crv: "Ed25519", kty: "OKP", x }))
    .digest("base64url");
}
