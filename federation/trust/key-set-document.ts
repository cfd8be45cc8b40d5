/**
 * The keys that sign snapshots, as the federation's root vouches for them. A member that holds the root can take up new
 * keys whenever it comes by, however many changes of them it missed: it need not trust the way there, nor an old key.
 * What is signed is text that begins with `eyJ`, a certificate to be signed begins with 0x30: neither passes for the other.
 */
import type { JSONWebKeySet } from "jose";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { importPublicKey, parseCertificate } from "./certificate.ts";
import { derToRaw, isSignatureOf, isTime, parseCanonicalObject, parseJws } from "./jws.ts";
import type { RootSigner } from "./root.ts";

const KEY_SET_TYPE = "isthmus-snapshot-keys+jws";
const MAX_CHARACTERS = 8_192;
const MAX_KEYS = 8;

export interface KeySet {
  /** Milliseconds since the epoch, but never less than the one before: of two sets the higher counts. */
  readonly sequence: number;
  readonly keys: JSONWebKeySet;
}

export async function signKeySet(
  set: {
    readonly federation: string;
    readonly sequence: number;
    readonly keys: readonly { readonly kid: string; readonly x: string }[];
  },
  root: Pick<RootSigner, "sign">,
): Promise<string> {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  const keys = set.keys.map(({ kid, x }) => ({ kid, x }));
  const claims = { iss: set.federation, seq: set.sequence, keys };
  const input = `${part({ alg: "ES256", typ: KEY_SET_TYPE })}.${part(claims)}`;
  const signature = derToRaw(await root.sign(Buffer.from(input)));
  return `${input}.${signature.toString("base64url")}`;
}

/** `roots`: the certificates of the federation's root that the reader holds, DER in base64. */
export function verifyKeySet(
  text: string,
  expected: { readonly federation: string; readonly roots: readonly string[] },
): Result<KeySet, Problem> {
  const refuse = (why: string) =>
    err(problem("snapshot_signature", `the set of snapshot keys cannot be believed: ${why}`));
  const jws = parseJws(text, { alg: "ES256", typ: KEY_SET_TYPE, members: [] }, MAX_CHARACTERS);
  if (!jws.ok) return refuse(jws.error);
  const isRooted = expected.roots.some((der) => {
    const certificate = parseCertificate(Buffer.from(der, "base64"));
    const key = certificate.ok ? importPublicKey(certificate.value.publicKeyInfo) : undefined;
    return key !== undefined && isSignatureOf(jws.value, "ES256", key);
  });
  if (!isRooted) return refuse("it is not signed by the root of this federation");
  const claims = parseCanonicalObject(jws.value.payload);
  if (!claims.ok) return refuse(`its payload ${claims.error}`);
  const { iss, seq, keys } = claims.value;
  if (iss !== expected.federation) return refuse(`it is not of ${expected.federation}`);
  const known = Array.isArray(keys) ? keys.map(readKey) : [];
  if (!isTime(seq) || known.length === 0 || known.length > MAX_KEYS || known.includes(undefined))
    return refuse(`it needs seq, and one to ${MAX_KEYS} keys`);
  return ok({ sequence: seq, keys: { keys: known.filter((key) => key !== undefined) } });
}

function readKey(value: unknown) {
  if (typeof value !== "object" || value === null || !("kid" in value && "x" in value)) return undefined;
  const { kid, x } = value;
  if (typeof kid !== "string" || typeof x !== "string") return undefined;
  return { kty: "OKP", crv: "Ed25519", x, kid, use: "sig", alg: "Ed25519" };
}
