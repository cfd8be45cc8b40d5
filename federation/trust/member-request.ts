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
  /** Greater than that of whatever this member signed before; `now` where it signs no two in a millisecond. */
  readonly sequence?: number;
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
    seq: request.sequence ?? request.now,
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

/** Names one signature, and orders it among those of its member. */
export interface MemberSignature {
  readonly id: string;
  /** Nobody takes it after this. */
  readonly untilMs: number;
  /** Milliseconds of the member's clock; of two signatures of one member, the later one has the greater. */
  readonly sequence: number;
}

export interface MemberRequest {
  readonly signer: SpiffeId;
  readonly signature: MemberSignature;
}

/** `header` is the whole Authorization header. The signer is a gateway or an agent; which cluster's, the caller judges. */
export function verifyMemberRequest(
  header: string,
  expected: MemberRequestExpectation,
): Result<MemberRequest, Problem> {
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
  const signature = judgeTime(claims, expected);
  return signature.ok ? ok({ signer, signature: signature.value }) : signature;
}

function difference(claims: JsonObject, expected: MemberRequestExpectation): string | undefined {
  if (claims["htm"] !== expected.method.toUpperCase()) return "method";
  if (claims["htu"] !== pathAndQuery(expected.url)) return "URL";
  return claims["body"] === bodyHash(expected.body) ? undefined : "body";
}

function judgeTime(
  claims: JsonObject,
  { now, skewMs = SKEW_MS, spend }: MemberRequestExpectation,
): Result<MemberSignature, Problem> {
  const { iat, exp, jti } = claims;
  if (!isTime(iat) || !isTime(exp) || exp - iat > LIFETIME_S || typeof jti !== "string" || jti.length < 16) {
    const detail = `it needs iat, exp at most ${LIFETIME_S} s later, and jti`;
    return err(problem("member_request_invalid", detail));
  }
  const sequence = sequenceOf(claims["seq"], iat);
  if (sequence === undefined)
    return err(problem("member_request_invalid", "its seq is not a time beside iat"));
  const untilMs = exp * 1000 + skewMs;
  const expired = (what: string) =>
    err(problem("member_request_expired", `it ${what}, it is ${isoOf(now / 1000)}`));
  if (now > untilMs) return expired(`expired at ${isoOf(exp)}`);
  if (iat * 1000 > now + skewMs) return expired(`was signed at ${isoOf(iat)}`);
  if (spend !== undefined && !spend(jti, untilMs))
    return err(problem("member_request_invalid", "the same signature was used before"));
  return ok({ id: jti, untilMs, sequence });
}

/**
 * A member that lies about it hurts itself only, and not for longer than its signatures live. Members of the release
 * before have none: theirs are ordered by the second.
 */
function sequenceOf(seq: unknown, iat: number): number | undefined {
  if (seq === undefined) return iat * 1000;
  const apart = typeof seq === "number" && Number.isInteger(seq) ? seq - iat * 1000 : -1;
  return apart >= 0 && apart <= LIFETIME_S * 1000 ? iat * 1000 + apart : undefined;
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
