import { createHash, randomBytes } from "node:crypto";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { type SpiffeId, systemRole } from "../model/spiffe-id.ts";
import type { BundleIndex } from "./bundle-index.ts";
import { isTime, type JsonObject } from "./jws.ts";
import type { Credential } from "./svid.ts";
import { signWithSvid, verifySvidJws } from "./svid-jws.ts";

/** The scheme of the Authorization header. */
export const MEMBER_SCHEME = "Isthmus-Member";

/** Another type than a caller token's: what a workload can sign for a service must never speak to the registry. */
const MEMBER_REQUEST_TYPE = "isthmus-member+jwt";

const LIFETIME_S = 60;
const SKEW_MS = 30_000;

/** A signature per request, because serverless front ends cannot be relied on to terminate our mutual TLS. */
export function signMemberRequest(request: {
  readonly credential: Credential;
  readonly method: string;
  /** Absolute, or path and query: the host is not signed, since a registry may have several. */
  readonly url: string;
  readonly body: Uint8Array | string | undefined;
  readonly now: number;
}): string {
  const iat = Math.floor(request.now / 1000);
  const jwt = signWithSvid(request.credential, MEMBER_REQUEST_TYPE, {
    sub: request.credential.spiffeId.uri,
    htm: request.method.toUpperCase(),
    htu: pathAndQuery(request.url),
    body: bodyHash(request.body),
    iat,
    exp: iat + LIFETIME_S,
    jti: randomBytes(16).toString("base64url"),
  });
  return `${MEMBER_SCHEME} ${jwt}`;
}

export interface MemberRequestExpectation {
  readonly method: string;
  readonly url: string;
  readonly body: Uint8Array | string | undefined;
  readonly bundles: BundleIndex;
  readonly now: number;
  readonly skewMs?: number;
  /** Answers whether this identifier is new, and remembers it until then. Without it a request may be repeated. */
  readonly spend?: (jti: string, untilMs: number) => boolean;
}

/** `header` is the whole Authorization header. The signer is a gateway or an agent; which cluster's, the caller judges. */
export function verifyMemberRequest(
  header: string,
  expected: MemberRequestExpectation,
): Result<SpiffeId, Problem> {
  const invalid = (detail: string) => err(problem("member_request_invalid", detail));
  const [scheme, jwt, ...rest] = header.split(" ");
  if (scheme?.toLowerCase() !== MEMBER_SCHEME.toLowerCase() || jwt === undefined || rest.length > 0) {
    return invalid(`the Authorization header is not "${MEMBER_SCHEME} <token>"`);
  }
  const verified = verifySvidJws(jwt, MEMBER_REQUEST_TYPE, expected.bundles, expected.now);
  if (!verified.ok) {
    const { kind, detail } = verified.error;
    return err(problem(kind === "expired" ? "member_request_expired" : "member_request_invalid", detail));
  }
  const { signer, claims } = verified.value;
  if (claims["sub"] !== signer.uri) return invalid("its subject is not the identity of its certificate");
  if (systemRole(signer) === undefined) return invalid(`${signer.uri} is no gateway, agent or controller`);
  const changed = difference(claims, expected);
  if (changed !== undefined) return invalid(`the ${changed} is not the one that was signed`);
  const untimely = judgeTime(claims, expected);
  return untimely === undefined ? ok(signer) : err(untimely);
}

function difference(claims: JsonObject, expected: MemberRequestExpectation): string | undefined {
  if (claims["htm"] !== expected.method.toUpperCase()) return "method";
  if (claims["htu"] !== pathAndQuery(expected.url)) return "URL";
  return claims["body"] === bodyHash(expected.body) ? undefined : "body";
}

function judgeTime(claims: JsonObject, expected: MemberRequestExpectation): Problem | undefined {
  const { now, skewMs = SKEW_MS } = expected;
  const { iat, exp, jti } = claims;
  if (!isTime(iat) || !isTime(exp) || exp - iat > LIFETIME_S || typeof jti !== "string" || jti.length < 16) {
    return problem("member_request_invalid", `it needs iat, exp at most ${LIFETIME_S} s later, and jti`);
  }
  const untilMs = exp * 1000 + skewMs;
  if (now > untilMs)
    return problem("member_request_expired", `it expired at ${isoOf(exp)}, it is ${isoOf(now / 1000)}`);
  if (iat * 1000 > now + skewMs) {
    return problem("member_request_expired", `it was signed at ${isoOf(iat)}, it is ${isoOf(now / 1000)}`);
  }
  if (expected.spend !== undefined && !expected.spend(jti, untilMs)) {
    return problem("member_request_invalid", "the same signature was used before");
  }
  return undefined;
}

function isoOf(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}

function bodyHash(body: Uint8Array | string | undefined): string {
  return createHash("sha256")
    .update(body ?? "")
    .digest("base64url");
}

/**
 * As it goes over the wire, whoever writes it: both sides take it from the URL's one canonical form. A path is put behind
 * a host rather than resolved against one, since `//a/b` would then lose its beginning.
 */
function pathAndQuery(url: string): string {
  const parsed = URL.parse(url.startsWith("/") ? `http://registry.invalid${url}` : url);
  return parsed === null ? url : parsed.pathname + parsed.search;
}
