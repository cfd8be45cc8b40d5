/** SPIFFE bundles as documents: a JWK Set per trust domain, and the map of them (SPIFFE Trust Domain and Bundle §4). */
import type { JWK } from "jose";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { parseTrustDomain, type TrustDomain } from "../model/spiffe-id.ts";
import type { TrustBundle } from "../model/trust-bundle.ts";
import { importPublicKey, parseCertificate } from "./certificate.ts";
import { repeatedMember } from "./json-members.ts";
import { strictBase64 } from "./pem.ts";

export interface BundleDocument {
  readonly keys: readonly JWK[];
  readonly spiffe_sequence: number;
  readonly spiffe_refresh_hint: number;
}

export interface BundleMapDocument {
  readonly trust_domains: { readonly [trustDomain: string]: BundleDocument };
}

// Five minutes, as the specification has it where nothing is said.
const REFRESH_HINT_S = 300;

export function bundleToJwks(bundle: TrustBundle, refreshHintSeconds = REFRESH_HINT_S): BundleDocument {
  return {
    keys: bundle.x509Authorities.flatMap((authority) => authorityToJwk(authority) ?? []),
    spiffe_sequence: bundle.sequence,
    spiffe_refresh_hint: refreshHintSeconds,
  };
}

/** Of the few authorities there are: with a shared root, a thousand bundles hold the same one. */
const JWKS = new Map<string, JWK | undefined>();
const MAX_JWKS = 64;

function authorityToJwk(base64: string): JWK | undefined {
  const known = JWKS.get(base64);
  if (known !== undefined) return known;
  if (JWKS.size >= MAX_JWKS) JWKS.clear();
  const made = makeJwk(base64);
  JWKS.set(base64, made);
  return made;
}

/** No `kid`: the specification forbids it for X.509 authorities. */
function makeJwk(base64: string): JWK | undefined {
  const der = strictBase64(base64);
  const certificate = der === undefined ? undefined : parseCertificate(der);
  if (certificate?.ok !== true) return undefined;
  const jwk = importPublicKey(certificate.value.publicKeyInfo)?.export({ format: "jwk" });
  if (jwk?.x === undefined || jwk.y === undefined) return undefined;
  return { kty: "EC", crv: "P-256", x: jwk.x, y: jwk.y, use: "x509-svid", x5c: [base64] };
}

/** Entries of kinds we do not know are passed over, as the specification asks; no entries at all is a valid bundle. */
export function bundleFromJwks(trustDomain: TrustDomain, document: unknown): Result<TrustBundle, Problem> {
  const invalid = (detail: string) => err(problem("file_invalid", `bundle of ${trustDomain}: ${detail}`));
  if (!isRecord(document)) return invalid("it is not a JSON object");
  const { keys, spiffe_sequence: sequence = 0 } = document;
  if (!Array.isArray(keys)) return invalid("keys is not a list");
  if (typeof sequence !== "number" || !Number.isSafeInteger(sequence) || sequence < 0) {
    return invalid("spiffe_sequence is not a whole number");
  }
  return ok({
    trustDomain,
    sequence,
    x509Authorities: keys.flatMap((key: unknown) => readAuthority(key) ?? []),
  });
}

function readAuthority(key: unknown): string | undefined {
  if (!isRecord(key) || key["use"] !== "x509-svid" || !Array.isArray(key["x5c"])) return undefined;
  const first: unknown = key["x5c"][0];
  if (typeof first !== "string") return undefined;
  const der = strictBase64(first);
  return der !== undefined && parseCertificate(der).ok ? first : undefined;
}

export function bundlesToMap(bundles: readonly TrustBundle[]): BundleMapDocument {
  return {
    trust_domains: Object.fromEntries(bundles.map((bundle) => [bundle.trustDomain, bundleToJwks(bundle)])),
  };
}

/** From text, since only there a member that occurs twice can be seen. */
export function bundlesFromMap(text: string): Result<readonly TrustBundle[], Problem> {
  const invalid = (detail: string) => err(problem("file_invalid", `bundle map: ${detail}`));
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    return invalid("it is not JSON");
  }
  const repeated = repeatedMember(text);
  if (repeated !== undefined) return invalid(`"${repeated}" occurs twice`);
  const domains = isRecord(document) ? document["trust_domains"] : undefined;
  if (!isRecord(domains)) return invalid("trust_domains is not an object");
  const bundles: TrustBundle[] = [];
  for (const [name, value] of Object.entries(domains)) {
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) return invalid(trustDomain.error);
    const bundle = bundleFromJwks(trustDomain.value, value);
    if (!bundle.ok) return bundle;
    bundles.push(bundle.value);
  }
  return ok(bundles);
}

function isRecord(value: unknown): value is { readonly [member: string]: unknown } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
