import { randomBytes } from "node:crypto";
import type { JSONWebKeySet } from "jose";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { isTime, parseCanonicalObject, parseJws } from "./jws.ts";
import { type SigningKey, signRegistryJws, verifyRegistryJws } from "./signing-key.ts";

const JOIN_TOKEN_TYPE = "isthmus-join+jwt";

// Time to walk to the other cluster's terminal, not to forget the token in a chat.
const LIFETIME_MS = 15 * 60_000;
const MAX_CHARACTERS = 2048;

export interface JoinToken {
  readonly token: string;
  /** Spent by the store, once. */
  readonly jti: string;
  readonly expiresAtMs: number;
}

/** Lets its bearer join as `cluster`, once. Answers a promise because elsewhere the key lives in a key management service. */
export function createJoinToken(request: {
  readonly key: SigningKey;
  readonly federation: string;
  readonly cluster: string;
  readonly now: number;
  readonly lifetimeMs?: number;
}): Promise<JoinToken> {
  const { key, federation, cluster, now } = request;
  const jti = randomBytes(16).toString("base64url");
  const exp = Math.floor((now + (request.lifetimeMs ?? LIFETIME_MS)) / 1000);
  const claims = { iss: federation, sub: cluster, iat: Math.floor(now / 1000), exp, jti };
  const token = signRegistryJws(key, JOIN_TOKEN_TYPE, JSON.stringify(claims));
  return Promise.resolve({ token, jti, expiresAtMs: exp * 1000 });
}

export interface JoinTokenClaims {
  readonly federation: string;
  readonly cluster: string;
  readonly jti: string;
  readonly expiresAtMs: number;
}

/** Whether it was spent already is the store's to say. */
export function verifyJoinToken(
  token: string,
  expected: {
    readonly keySet: JSONWebKeySet;
    readonly federation: string;
    /** Where the bearer says which cluster it is. */
    readonly cluster?: string;
    readonly now: number;
  },
): Promise<Result<JoinTokenClaims, Problem>> {
  return Promise.resolve(verifyNow(token, expected));
}

function verifyNow(
  token: string,
  expected: Parameters<typeof verifyJoinToken>[1],
): Result<JoinTokenClaims, Problem> {
  const jws = verifyRegistryJws(token, JOIN_TOKEN_TYPE, expected.keySet, MAX_CHARACTERS);
  if (!jws.ok) return err(problem("join_token_invalid", jws.error));
  const claims = readClaims(jws.value.payload);
  if (!claims.ok) return claims;
  const { federation, cluster, expiresAtMs } = claims.value;
  if (federation !== expected.federation) {
    return err(problem("join_token_invalid", `it is of ${federation}, this is ${expected.federation}`));
  }
  if (expected.now >= expiresAtMs) {
    return err(problem("join_token_expired", `it expired at ${new Date(expiresAtMs).toISOString()}`));
  }
  if (expected.cluster !== undefined && cluster !== expected.cluster) {
    return err(problem("join_token_cluster", `it is for cluster ${cluster}, not ${expected.cluster}`));
  }
  return claims;
}

function readClaims(payload: Buffer): Result<JoinTokenClaims, Problem> {
  const claims = parseCanonicalObject(payload);
  if (!claims.ok) return err(problem("join_token_invalid", `its payload ${claims.error}`));
  const { iss, sub, exp, jti } = claims.value;
  if (typeof iss !== "string" || typeof sub !== "string" || typeof jti !== "string" || !isTime(exp)) {
    return err(problem("join_token_invalid", "it lacks one of iss, sub, exp and jti"));
  }
  return ok({ federation: iss, cluster: sub, jti, expiresAtMs: exp * 1000 });
}

/**
 * What a token says of itself, for the machine that is about to redeem it and has no key to verify it with: only good
 * for a message, since the registry decides.
 */
export function peekJoinToken(token: string): Result<JoinTokenClaims, Problem> {
  const jws = parseJws(token, { alg: "Ed25519", typ: JOIN_TOKEN_TYPE, members: ["kid"] }, MAX_CHARACTERS);
  return jws.ok ? readClaims(jws.value.payload) : err(problem("join_token_invalid", jws.error));
}
