/** JWS signed by an SVID's key, with its chain in `x5c`: what callers and members prove themselves with. */
import type { Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { SpiffeId } from "../model/spiffe-id.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { importPublicKey } from "./certificate.ts";
import { isSignatureOf, type JsonObject, parseCanonicalObject, parseJws, signJws } from "./jws.ts";
import { strictBase64 } from "./pem.ts";
import type { Credential } from "./svid.ts";
import { verifyChain } from "./verify-chain.ts";

/** Two certificates make about 2.2 KB of token. */
export const MAX_SVID_JWS_CHARACTERS = 8192;

/** Why a token is refused: `invalid`, or `expired` where only the clock is against it. */
export interface SvidJwsProblem {
  readonly kind: "invalid" | "expired";
  readonly detail: string;
}

export interface VerifiedSvidJws {
  readonly signer: SpiffeId;
  readonly claims: JsonObject;
  /** The token is worth nothing after its chain. */
  readonly chainNotAfterMs: number;
}

export function signWithSvid(
  credential: Pick<Credential, "privateKey" | "chainDer">,
  typ: string,
  claims: JsonObject,
): string {
  const x5c = credential.chainDer.map((der) => der.toString("base64"));
  return signJws("ES256", { typ, x5c }, JSON.stringify(claims), credential.privateKey);
}

export function verifySvidJws(
  token: string,
  typ: string,
  bundles: BundleIndex,
  now: number,
): Result<VerifiedSvidJws, SvidJwsProblem> {
  const invalid = (detail: string) => err({ kind: "invalid", detail } as const);
  const jws = parseJws(token, { alg: "ES256", typ, members: ["x5c"] }, MAX_SVID_JWS_CHARACTERS);
  if (!jws.ok) return invalid(jws.error);
  const chainDer = readX5c(jws.value.header["x5c"]);
  if (chainDer === undefined) return invalid("its x5c is not a list of certificates in base64");
  const claims = parseCanonicalObject(jws.value.payload);
  if (!claims.ok) return invalid(`its payload ${claims.error}`);
  const chain = verifyChain(chainDer, bundles, now);
  if (!chain.ok) return err(chainProblem(chain.error));
  const key = importPublicKey(chain.value.publicKeyInfo);
  if (key === undefined || !isSignatureOf(jws.value, "ES256", key)) {
    return invalid("its signature was not made with the key of its certificate");
  }
  return ok({ signer: chain.value.spiffeId, claims: claims.value, chainNotAfterMs: chain.value.notAfterMs });
}

function chainProblem({ name, detail }: Problem): SvidJwsProblem {
  const untimely = name === "peer_certificate_expired" || name === "peer_certificate_not_yet_valid";
  return { kind: untimely ? "expired" : "invalid", detail: `its certificate chain: ${detail} (${name})` };
}

function readX5c(value: unknown): Buffer[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const chain: Buffer[] = [];
  for (const item of value) {
    const der = typeof item === "string" ? strictBase64(item) : undefined;
    if (der === undefined) return undefined;
    chain.push(der);
  }
  return chain;
}
