import { X509Certificate } from "node:crypto";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../federation/model/result.ts";
import {
  type SpiffeId,
  type SystemRole,
  systemRole,
  type TrustDomain,
} from "../../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../../federation/model/trust-bundle.ts";
import { type BundleIndex, indexBundles, verifyChain } from "../../../federation/trust/index.ts";

/** Whom this process believes, as of one snapshot. */
export interface PeerTrust {
  readonly bundles: BundleIndex;
  /** All authorities as PEM: what OpenSSL needs to ask for client certificates. It decides nothing (see verifyPeer). */
  readonly authoritiesPem: readonly string[];
  /** CAs below the authorities, to complete a chain of which only the leaf is known. */
  readonly intermediates: readonly X509Certificate[];
  readonly denied: ReadonlySet<TrustDomain>;
  /** `false` before the first snapshot: a domain that is not known here may yet be one of the federation. */
  readonly isComplete: boolean;
}

/** The verified other end of one TLS connection. */
export interface Peer {
  readonly spiffeId: SpiffeId;
  readonly notAfterMs: number;
}

/** What a dialler expects at the other end; listeners expect any known trust domain. */
export interface ExpectedPeer {
  readonly trustDomain: TrustDomain;
  readonly role: SystemRole;
}

export function compilePeerTrust(
  bundles: readonly TrustBundle[],
  denied: readonly TrustDomain[],
  isComplete = true,
): PeerTrust {
  return {
    bundles: indexBundles(bundles),
    authoritiesPem: [...new Set(bundles.flatMap((bundle) => bundle.x509Authorities))].map(toPem),
    intermediates: bundles.flatMap(({ intermediates = [] }) =>
      intermediates.map((der) => new X509Certificate(Buffer.from(der, "base64"))),
    ),
    denied: new Set(denied),
    isComplete,
  };
}

/**
 * Judges the certificates that the other end really sent, against the bundle of the trust domain its ID claims. Node
 * keeps one merged CA list per context and would let one trust domain speak for another, so its verdict is not used.
 */
export function verifyPeer(
  chainDer: readonly Uint8Array[],
  trust: PeerTrust,
  now: number,
  expected?: ExpectedPeer,
): Result<Peer, Problem> {
  if (chainDer.length === 0)
    return err(problem("peer_certificate_missing", "the handshake carried no certificate"));
  const verified = verifyChain(completeChain(chainDer, trust), trust.bundles, now);
  if (!verified.ok) return verified;
  const { spiffeId, notAfterMs } = verified.value;
  if (trust.denied.has(spiffeId.trustDomain)) {
    return err(problem("peer_denied", `${spiffeId.trustDomain} was revoked`));
  }
  if (expected !== undefined && !isExpected(spiffeId, expected)) {
    return err(
      problem(
        "peer_unexpected",
        `expected the ${expected.role} of ${expected.trustDomain}, got ${spiffeId.uri}`,
      ),
    );
  }
  return ok({ spiffeId, notAfterMs });
}

/** Adds the CA that signed a lone leaf, whoever's it is: that it may not speak for the leaf's domain is verifyChain's to find. */
function completeChain(chainDer: readonly Uint8Array[], trust: PeerTrust): readonly Uint8Array[] {
  const [leafDer] = chainDer;
  if (leafDer === undefined || chainDer.length > 1) return chainDer;
  try {
    const leaf = new X509Certificate(leafDer);
    const issuer = trust.intermediates.find((ca) => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
    return issuer === undefined ? chainDer : [leafDer, issuer.raw];
  } catch {
    // What OpenSSL cannot read, verifyChain names.
    return chainDer;
  }
}

function isExpected(id: SpiffeId, expected: ExpectedPeer): boolean {
  return id.trustDomain === expected.trustDomain && systemRole(id) === expected.role;
}

/** Whether anybody of a trust domain is welcome; asked again about verified peers when the trust changes. */
export function trustsDomain(trustDomain: TrustDomain, trust: PeerTrust): boolean {
  return !trust.denied.has(trustDomain) && trust.bundles.get(trustDomain) !== undefined;
}

function toPem(derBase64: string): string {
  return `-----BEGIN CERTIFICATE-----\n${derBase64.replace(/.{64}/g, "$&\n").trimEnd()}\n-----END CERTIFICATE-----\n`;
}
