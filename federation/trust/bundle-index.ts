import type { KeyObject } from "node:crypto";
import type { TrustDomain } from "../model/spiffe-id.ts";
import type { TrustBundle } from "../model/trust-bundle.ts";
import { type Certificate, importPublicKey, parseCertificate } from "./certificate.ts";
import { strictBase64 } from "./pem.ts";

/** A CA certificate whose key is ready to verify with. */
export interface Authority {
  readonly certificate: Certificate;
  readonly publicKey: KeyObject;
}

/** The authorities of one trust domain, ready for use. */
export interface TrustAnchors {
  readonly trustDomain: TrustDomain;
  readonly authorities: readonly Authority[];
  /**
   * CAs seen in chains and proven to be signed by one of `authorities`, by their DER: a cluster has one or two, and
   * every chain of it repeats them. Dates and constraints are judged afresh each time.
   */
  readonly provenIssuers: ProvenIssuers;
}

export interface BundleIndex {
  get(trustDomain: TrustDomain): TrustAnchors | undefined;
}

// A rotation overlaps two or three roots. The bound keeps a verdict cheap if a bundle is made to be expensive.
const MAX_AUTHORITIES = 16;
const MAX_PROVEN_ISSUERS = 64;

/** Only what is signed with an anchor's key is kept, so a stranger cannot fill it. */
export class ProvenIssuers {
  readonly #byDer = new Map<string, Authority & { readonly anchor: Authority }>();

  get(der: Uint8Array): (Authority & { readonly anchor: Authority }) | undefined {
    return this.#byDer.get(textOf(der));
  }

  add(issuer: Authority, anchor: Authority): void {
    if (this.#byDer.size >= MAX_PROVEN_ISSUERS) this.#byDer.clear();
    this.#byDer.set(textOf(issuer.certificate.der), { ...issuer, anchor });
  }
}

/**
 * Bundles stay apart, by trust domain. An authority that cannot be read is left out: nothing is trusted through it, and
 * the others of its bundle keep working.
 */
export function indexBundles(bundles: readonly TrustBundle[]): BundleIndex {
  const byDomain = new Map<TrustDomain, TrustAnchors>();
  for (const { trustDomain, x509Authorities } of bundles) {
    const authorities = x509Authorities
      .slice(0, MAX_AUTHORITIES)
      .flatMap((text) => readAuthority(text) ?? []);
    byDomain.set(trustDomain, { trustDomain, authorities, provenIssuers: new ProvenIssuers() });
  }
  return byDomain;
}

function readAuthority(base64: string): Authority | undefined {
  const der = strictBase64(base64);
  if (der === undefined) return undefined;
  const certificate = parseCertificate(der);
  if (!certificate.ok || !certificate.value.isCa) return undefined;
  const publicKey = importPublicKey(certificate.value.publicKeyInfo);
  return publicKey === undefined ? undefined : { certificate: certificate.value, publicKey };
}

function textOf(der: Uint8Array): string {
  return Buffer.from(der.buffer, der.byteOffset, der.length).toString("latin1");
}
