import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { SpiffeId } from "../model/spiffe-id.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { isTime } from "./jws.ts";
import type { Credential } from "./svid.ts";
import { signWithSvid, verifySvidJws } from "./svid-jws.ts";

const CALLER_TOKEN_TYPE = "JWT";

// Long enough to be cached per caller and destination, short enough that a stolen one is soon worthless.
const LIFETIME_MS = 5 * 60_000;
// What a verifier accepts at most, so that a workload cannot make itself one for ever.
const MAX_LIFETIME_S = 3600;
// How far ahead the minter's clock may be: as much as certificates are backdated.
const SKEW_S = 60;

/** Proof of who asks, for one destination; it passes every hop and no hop can change it. */
export function mintCallerToken(request: {
  readonly credential: Credential;
  readonly audience: string;
  readonly now: number;
  readonly lifetimeMs?: number;
}): string {
  const { credential, audience, now } = request;
  const expiresAtMs = Math.min(now + (request.lifetimeMs ?? LIFETIME_MS), credential.notAfterMs);
  return signWithSvid(credential, CALLER_TOKEN_TYPE, {
    sub: credential.spiffeId.uri,
    aud: audience,
    iat: Math.floor(now / 1000),
    exp: Math.floor(expiresAtMs / 1000),
  });
}

export interface VerifiedCaller {
  readonly caller: SpiffeId;
  /** When the token or its chain ends, whichever is first: how long this answer may be remembered. */
  readonly expiresAtMs: number;
}

export function verifyCallerToken(
  token: string,
  {
    bundles,
    audience,
    now,
  }: { readonly bundles: BundleIndex; readonly audience: string; readonly now: number },
): Result<VerifiedCaller, Problem> {
  const verified = verifySvidJws(token, CALLER_TOKEN_TYPE, bundles, now);
  if (!verified.ok) {
    const { kind, detail } = verified.error;
    return err(problem(kind === "expired" ? "caller_token_expired" : "caller_token_invalid", detail));
  }
  const { signer, claims, chainNotAfterMs } = verified.value;
  const invalid = (detail: string) => err(problem("caller_token_invalid", detail));
  const { sub, aud, iat, exp } = claims;
  if (sub !== signer.uri) return invalid("its subject is not the identity of its certificate");
  if (!isTime(iat) || !isTime(exp)) return invalid("its iat and exp are not whole seconds");
  if (exp - iat > MAX_LIFETIME_S) return invalid(`it lives longer than ${MAX_LIFETIME_S} s`);
  if (aud !== audience) return err(problem("caller_token_audience", `it was not made for ${audience}`));
  if (now >= exp * 1000)
    return err(problem("caller_token_expired", `it expired ${secondsSince(exp, now)} s ago`));
  if (iat > now / 1000 + SKEW_S) {
    return err(problem("caller_token_expired", `it was made ${-secondsSince(iat, now)} s in the future`));
  }
  return ok({ caller: signer, expiresAtMs: Math.min(exp * 1000, chainNotAfterMs) });
}

function secondsSince(second: number, now: number): number {
  return Math.floor(now / 1000) - second;
}
