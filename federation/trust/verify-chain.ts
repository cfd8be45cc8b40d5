/**
 * Judges a presented certificate chain by our own strict profile, whatever TLS thought of it: OpenSSL's path validation
 * is lenient, and Node merges all authorities into one list, so that one trust domain could speak for another. The
 * bundle is chosen by the trust domain that the leaf claims, and the CA that issued the leaf must be of that domain.
 */
import { problem, type Problem, type ProblemName } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { SpiffeId, TrustDomain } from "../model/spiffe-id.ts";
import type { Authority, BundleIndex, TrustAnchors } from "./bundle-index.ts";
import { type Certificate, importPublicKey, isSignedBy, parseCertificate } from "./certificate.ts";
import { judgeDates, judgeIssuer, judgeLeaf, keepsTo } from "./svid-profile.ts";

export interface VerifiedChain {
  readonly spiffeId: SpiffeId;
  /** When the first certificate of the path ends. */
  readonly notAfterMs: number;
  /** The leaf's key, as DER. */
  readonly publicKeyInfo: Buffer;
}

/** Leaf, cluster CA, root: the longest chain that we issue. */
const MAX_CHAIN = 3;

/** `chainDer` as presented, leaf first. */
export function verifyChain(
  chainDer: readonly Uint8Array[],
  bundles: BundleIndex,
  now: number,
): Result<VerifiedChain, Problem> {
  const [leafDer, ...issuerDers] = chainDer;
  if (leafDer === undefined) return refuse("peer_certificate_missing", "the chain is empty");
  if (chainDer.length > MAX_CHAIN) {
    return refuse(
      "peer_certificate_profile",
      `the chain has ${chainDer.length} certificates, more than ${MAX_CHAIN}`,
    );
  }
  const leaf = parseCertificate(leafDer);
  if (!leaf.ok) return refuse("peer_certificate_profile", `the leaf cannot be read: ${leaf.error}`);
  const id = judgeLeaf(leaf.value);
  if (!id.ok) return id;
  const anchors = bundles.get(id.value.trustDomain);
  if (anchors === undefined)
    return refuse("peer_trust_domain_unknown", `no bundle of ${id.value.trustDomain}`);
  const untimely = judgeDates(leaf.value, "the leaf", now);
  if (untimely !== undefined) return err(untimely);
  const path =
    issuerDers.length === 0 ? anchored(leaf.value, anchors) : presented(leaf.value, issuerDers, anchors);
  if (!path.ok) return path;
  const breach = judgePath(leaf.value, path.value, id.value, now);
  if (breach !== undefined) return err(breach);
  return ok({
    spiffeId: id.value,
    notAfterMs: Math.min(leaf.value.notAfterMs, ...path.value.map((issuer) => issuer.notAfterMs)),
    publicKeyInfo: leaf.value.publicKeyInfo,
  });
}

/** Whether an authority of the trust domain's bundle vouches for its CA now; the leaves that it signs are judged by themselves. */
export function verifyClusterCa(
  der: Uint8Array,
  trustDomain: TrustDomain,
  bundles: BundleIndex,
  now: number,
): Result<undefined, Problem> {
  const ca = parseCertificate(der);
  if (!ca.ok) return refuse("peer_certificate_profile", `the CA cannot be read: ${ca.error}`);
  const claimed = judgeIssuer(ca.value);
  if (!claimed.ok) return claimed;
  const anchors = bundles.get(trustDomain);
  if (anchors === undefined) return refuse("peer_trust_domain_unknown", `no bundle of ${trustDomain}`);
  if (claimed.value !== trustDomain)
    return refuse("peer_issuer_mismatch", `the CA is of ${claimed.value ?? "no trust domain"}`);
  const anchor = findAnchor(ca.value, anchors)?.certificate;
  if (anchor === undefined) return untrusted(anchors);
  const untimely = judgeDates(ca.value, "the CA", now) ?? judgeDates(anchor, "its authority", now);
  return untimely === undefined ? ok(undefined) : err(untimely);
}

function refuse(name: ProblemName, detail: string): Result<never, Problem> {
  return err(problem(name, detail));
}

type Path = Result<readonly Certificate[], Problem>;

/** The path of a leaf that was presented alone. */
function anchored(leaf: Certificate, anchors: TrustAnchors): Path {
  const anchor = findAnchor(leaf, anchors);
  return anchor === undefined ? untrusted(anchors) : ok([anchor.certificate]);
}

function untrusted({ trustDomain }: TrustAnchors): Result<never, Problem> {
  return refuse("peer_certificate_untrusted", `no authority of ${trustDomain} signed the chain`);
}

/** The path of a leaf and the issuers that came with it: every signature holds, and it ends in an authority. */
function presented(leaf: Certificate, issuerDers: readonly Uint8Array[], anchors: TrustAnchors): Path {
  const last = issuerDers[issuerDers.length - 1];
  const proven = last === undefined ? undefined : anchors.provenIssuers.get(last);
  const path: Certificate[] = [];
  let below = leaf;
  for (const der of issuerDers) {
    const known = der === last ? proven : undefined;
    const parsed = known === undefined ? parseCertificate(der) : ok(known.certificate);
    if (!parsed.ok) return refuse("peer_certificate_profile", `an issuer cannot be read: ${parsed.error}`);
    const issuer = parsed.value;
    const claimed = judgeIssuer(issuer);
    if (!claimed.ok) return claimed;
    if (path.length === 0 && claimed.value !== anchors.trustDomain) return mismatch(claimed.value, anchors);
    const publicKey = known?.publicKey ?? importPublicKey(issuer.publicKeyInfo);
    if (publicKey === undefined || !issued({ certificate: issuer, publicKey }, below)) {
      return refuse(
        "peer_certificate_untrusted",
        "a certificate of the chain was not signed by the next one",
      );
    }
    path.push(issuer);
    below = issuer;
  }
  if (proven !== undefined) return ok([...path, ...above(proven.anchor, below)]);
  return anchorPath(path, below, anchors);
}

/** Ends a path whose last presented issuer is `last`, and remembers that issuer once it is proven. */
function anchorPath(path: readonly Certificate[], last: Certificate, anchors: TrustAnchors): Path {
  const self = anchors.authorities.find(({ certificate }) => certificate.der.equals(last.der));
  const anchor = self ?? findAnchor(last, anchors);
  if (anchor === undefined) return untrusted(anchors);
  const publicKey = importPublicKey(last.publicKeyInfo);
  if (publicKey !== undefined) anchors.provenIssuers.add({ certificate: detach(last), publicKey }, anchor);
  return ok([...path, ...above(anchor, last)]);
}

/** The anchor, unless it was presented itself. */
function above({ certificate }: Authority, last: Certificate): Certificate[] {
  return certificate.der.equals(last.der) ? [] : [certificate];
}

/** A copy that does not keep the connection's buffers alive. */
function detach(certificate: Certificate): Certificate {
  const copy = parseCertificate(Uint8Array.from(certificate.der));
  return copy.ok ? copy.value : certificate;
}

function findAnchor(below: Certificate, { authorities }: TrustAnchors): Authority | undefined {
  return authorities.find((authority) => issued(authority, below));
}

function issued(authority: Authority, below: Certificate): boolean {
  return below.issuer.equals(authority.certificate.subject) && isSignedBy(below, authority.publicKey);
}

function mismatch(claimed: string | undefined, { trustDomain }: TrustAnchors): Result<never, Problem> {
  return refuse(
    "peer_issuer_mismatch",
    `the leaf is of ${trustDomain}, its issuer of ${claimed ?? "no trust domain"}`,
  );
}

/** What can only be judged along the whole path, `path[0]` being the issuer of the leaf. */
function judgePath(
  leaf: Certificate,
  path: readonly Certificate[],
  id: SpiffeId,
  now: number,
): Problem | undefined {
  for (const [depth, issuer] of path.entries()) {
    const claimed = judgeIssuer(issuer);
    if (!claimed.ok) return claimed.error;
    if (depth === 0 && claimed.value !== id.trustDomain) {
      return problem(
        "peer_issuer_mismatch",
        `${id.uri} was issued by ${claimed.value ?? "a CA without an ID"}`,
      );
    }
    const untimely = judgeDates(issuer, depth === 0 ? "the issuing CA" : "an issuer", now);
    if (untimely !== undefined) return untimely;
    if (issuer.pathLength !== undefined && issuer.pathLength < depth) {
      return problem("peer_certificate_profile", "an issuer allows fewer CAs below it");
    }
    if (issuer.nameConstraints === undefined) continue;
    for (const below of [leaf, ...path.slice(0, depth)]) {
      if (!keepsTo(issuer.nameConstraints, below)) {
        return problem("peer_issuer_mismatch", "a name lies outside an issuer's name constraints");
      }
    }
  }
  return undefined;
}
