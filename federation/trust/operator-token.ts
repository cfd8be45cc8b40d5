import { randomBytes } from "node:crypto";
import type { JSONWebKeySet } from "jose";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { isTime, parseCanonicalObject } from "./jws.ts";
import { type SigningKey, signRegistryJws, verifyRegistryJws } from "./signing-key.ts";

const OPERATOR_TOKEN_TYPE = "isthmus-operator+jwt";
const MAX_CHARACTERS = 2048;
const SKEW_S = 30;

/** From least to most: each may do what those before it may. */
export const ROLES = ["viewer", "editor", "admin"] as const;
export type Role = (typeof ROLES)[number];

export function isRole(value: unknown): value is Role {
  return ROLES.some((role) => role === value);
}

export function roleCovers(held: Role, needed: Role): boolean {
  return ROLES.indexOf(held) >= ROLES.indexOf(needed);
}

export interface Operator {
  readonly subject: string;
  readonly role: Role;
  readonly jti: string;
  readonly expiresAtMs: number;
}

/** Answers a promise because elsewhere the key lives in a key management service. */
export function issueOperatorToken(request: {
  readonly key: SigningKey;
  readonly federation: string;
  readonly subject: string;
  readonly role: Role;
  readonly now: number;
  readonly lifetimeMs: number;
}): Promise<{ readonly token: string; readonly jti: string; readonly expiresAtMs: number }> {
  const { key, federation, subject, role, now, lifetimeMs } = request;
  const jti = randomBytes(16).toString("base64url");
  const exp = Math.floor((now + lifetimeMs) / 1000);
  const claims = { iss: federation, sub: subject, role, iat: Math.floor(now / 1000), exp, jti };
  const token = signRegistryJws(key, OPERATOR_TOKEN_TYPE, JSON.stringify(claims));
  return Promise.resolve({ token, jti, expiresAtMs: exp * 1000 });
}

export function verifyOperatorToken(
  token: string,
  expected: { readonly keySet: JSONWebKeySet; readonly federation: string; readonly now: number },
): Promise<Result<Operator, Problem>> {
  const operator = verifyNow(token, expected);
  return Promise.resolve(operator.ok ? operator : err(problem("unauthenticated", operator.error)));
}

function verifyNow(token: string, expected: Parameters<typeof verifyOperatorToken>[1]): Result<Operator> {
  const jws = verifyRegistryJws(token, OPERATOR_TOKEN_TYPE, expected.keySet, MAX_CHARACTERS);
  if (!jws.ok) return err(`the operator token is refused: ${jws.error}`);
  const claims = parseCanonicalObject(jws.value.payload);
  if (!claims.ok) return err(`the operator token's payload ${claims.error}`);
  const { iss, sub, role, iat, exp, jti } = claims.value;
  if (typeof sub !== "string" || typeof jti !== "string" || !isRole(role) || !isTime(iat) || !isTime(exp)) {
    return err("the operator token lacks one of sub, role, iat, exp and jti");
  }
  if (iss !== expected.federation) return err(`the operator token is not of ${expected.federation}`);
  if (expected.now >= exp * 1000)
    return err(`the operator token expired at ${new Date(exp * 1000).toISOString()}`);
  if (iat > expected.now / 1000 + SKEW_S) return err("the operator token was made in the future");
  return ok({ subject: sub, role, jti, expiresAtMs: exp * 1000 });
}
