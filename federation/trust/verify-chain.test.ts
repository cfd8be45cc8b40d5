import { describe, expect, it } from "vitest";
import {
  bundleOf,
  type CredentialOverrides,
  createTestCa,
  createTestFederation,
  unwrap,
} from "../../test/fakes/pki.ts";
import { indexBundles } from "./bundle-index.ts";
import { verifyChain } from "./verify-chain.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const federation = createTestFederation("demo.mesh", ["east", "west"], NOW);
const { index } = federation;
const east = federation.cluster("east");
const west = federation.cluster("west");

function verdict(overrides: CredentialOverrides, now = NOW) {
  return verifyChain(federation.credential("east", "shop", "cart", overrides).chainDer, index, now);
}

function codeOf(result: ReturnType<typeof verifyChain>): string {
  return result.ok ? "accepted" : result.error.name;
}

describe("verifyChain", () => {
  it("answers the workload's identity and when the first certificate of its path ends", () => {
    const cart = federation.credential("east", "shop", "cart");
    expect(unwrap(verifyChain(cart.chainDer, index, NOW))).toMatchObject({
      spiffeId: cart.spiffeId,
      notAfterMs: cart.notAfterMs,
    });
  });

  it("accepts the root at the end of the chain, as TLS stacks report it", () => {
    const root = federation.root.certificateDer;
    expect(codeOf(verdict({ chain: (leaf, ca) => [leaf, ca, root] }))).toBe("accepted");
  });

  it("accepts views into larger buffers", () => {
    const chain = federation.credential("east", "shop", "cart").chainDer.map((der) => {
      const padded = new Uint8Array(der.length + 20).fill(9);
      padded.set(der, 10);
      return padded.subarray(10, 10 + der.length);
    });
    expect(codeOf(verifyChain(chain, index, NOW))).toBe("accepted");
  });

  it("accepts an SVID that names hosts as well", () => {
    expect(codeOf(verdict({ dnsSans: ["cart.shop.svc", "cart"] }))).toBe("accepted");
  });

  it("accepts an unknown extension that is not critical", () => {
    const extra = [{ oid: "1.3.6.1.4.1.99999.1", critical: false, value: Buffer.from("0500", "hex") }];
    expect(codeOf(verdict({ extra }))).toBe("accepted");
  });

  const refusals: readonly [string, string, CredentialOverrides][] = [
    ["no URI SAN", "peer_spiffe_id_invalid", { uriSans: [] }],
    [
      "two URI SANs",
      "peer_spiffe_id_invalid",
      { uriSans: ["spiffe://east.demo.mesh/ns/shop/sa/cart", "spiffe://east.demo.mesh/ns/shop/sa/web"] },
    ],
    [
      "the same URI SAN twice",
      "peer_spiffe_id_invalid",
      { uriSans: ["spiffe://east.demo.mesh/ns/shop/sa/cart", "spiffe://east.demo.mesh/ns/shop/sa/cart"] },
    ],
    [
      "a second URI SAN that is no SPIFFE ID",
      "peer_spiffe_id_invalid",
      { uriSans: ["spiffe://east.demo.mesh/ns/shop/sa/cart", "https://example.org"] },
    ],
    [
      "a second ID written into the first after a comma, as Node would list it",
      "peer_spiffe_id_invalid",
      { uriSans: ["spiffe://east.demo.mesh/a, URI:spiffe://east.demo.mesh/b"] },
    ],
    ["an ID without a path", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh"] }],
    ["an ID with a slash for a path", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh/"] }],
    ["an ID with a query", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh/a?b"] }],
    ["an ID with a port", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh:1/a"] }],
    ["an ID with user information", "peer_spiffe_id_invalid", { uriSans: ["spiffe://u@east.demo.mesh/a"] }],
    ["an ID with an upper-case domain", "peer_spiffe_id_invalid", { uriSans: ["spiffe://EAST.demo.mesh/a"] }],
    ["an ID with an upper-case scheme", "peer_spiffe_id_invalid", { uriSans: ["SPIFFE://east.demo.mesh/a"] }],
    ["an ID with ..", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh/a/../b"] }],
    ["an ID with a percent sign", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh/%61"] }],
    ["an ID with NUL", "peer_spiffe_id_invalid", { uriSans: ["spiffe://east.demo.mesh/a\0b"] }],
    ["another scheme", "peer_spiffe_id_invalid", { uriSans: ["https://east.demo.mesh/a"] }],
    [
      "an ID over 2048 bytes",
      "peer_spiffe_id_invalid",
      { uriSans: [`spiffe://east.demo.mesh/${"a".repeat(2048)}`] },
    ],
    [
      "the ID of a trust domain without a bundle",
      "peer_trust_domain_unknown",
      { uriSans: ["spiffe://north.demo.mesh/ns/shop/sa/cart"] },
    ],
    ["the CA flag", "peer_certificate_profile", { ca: true }],
    [
      "the right to sign certificates",
      "peer_certificate_profile",
      { keyUsage: ["digitalSignature", "keyCertSign"] },
    ],
    [
      "the right to sign revocation lists",
      "peer_certificate_profile",
      { keyUsage: ["digitalSignature", "cRLSign"] },
    ],
    ["no right to make signatures", "peer_certificate_profile", { keyUsage: ["keyEncipherment"] }],
    ["an empty key usage", "peer_certificate_profile", { keyUsage: [] }],
    ["only server authentication", "peer_certificate_profile", { extendedKeyUsage: ["serverAuth"] }],
    ["only client authentication", "peer_certificate_profile", { extendedKeyUsage: ["clientAuth"] }],
    [
      "an unknown critical extension",
      "peer_certificate_profile",
      { extra: [{ oid: "1.3.6.1.4.1.99999.1", critical: true, value: Buffer.from("0500", "hex") }] },
    ],
    [
      "an extension twice",
      "peer_certificate_profile",
      { extra: [{ oid: "2.5.29.19", critical: true, value: Buffer.from("3000", "hex") }] },
    ],
    [
      "more than 8 KiB",
      "peer_certificate_profile",
      { dnsSans: Array.from({ length: 40 }, () => "a".repeat(250)) },
    ],
  ];
  it.each(refusals)("refuses a leaf with %s", (_, code, overrides) => {
    expect(codeOf(verdict(overrides))).toBe(code);
  });

  it("allows no skew: the second before and the second after are refused", () => {
    const span = { notBeforeMs: NOW, notAfterMs: NOW + 60_000 };
    expect(codeOf(verdict(span, NOW - 1))).toBe("peer_certificate_not_yet_valid");
    expect(codeOf(verdict(span, NOW))).toBe("accepted");
    expect(codeOf(verdict(span, NOW + 60_000))).toBe("accepted");
    expect(codeOf(verdict(span, NOW + 60_001))).toBe("peer_certificate_expired");
  });

  it("refuses a leaf of one trust domain signed by another one's CA, however it is presented", () => {
    const forged = (chain?: CredentialOverrides["chain"]) =>
      federation.credential("west", "shop", "web", { signedBy: east.ca, ...(chain && { chain }) }).chainDer;
    const root = federation.root.certificateDer;
    expect(codeOf(verifyChain(forged(), index, NOW))).toBe("peer_issuer_mismatch");
    expect(
      codeOf(
        verifyChain(
          forged((leaf, ca) => [leaf, ca, root]),
          index,
          NOW,
        ),
      ),
    ).toBe("peer_issuer_mismatch");
    expect(
      codeOf(
        verifyChain(
          forged((leaf) => [leaf]),
          index,
          NOW,
        ),
      ),
    ).toBe("peer_certificate_untrusted");
    const withWest = forged((leaf) => [leaf, west.ca.certificateDer]);
    expect(codeOf(verifyChain(withWest, index, NOW))).toBe("peer_certificate_untrusted");
  });

  it("refuses it even after the forger's CA was proven with a good chain", () => {
    const fresh = indexBundles(federation.bundles);
    expect(codeOf(verifyChain(federation.credential("east", "a", "b").chainDer, fresh, NOW))).toBe(
      "accepted",
    );
    const forged = federation.credential("west", "shop", "web", { signedBy: east.ca }).chainDer;
    expect(codeOf(verifyChain(forged, fresh, NOW))).toBe("peer_issuer_mismatch");
  });

  it("refuses a workload that the shared root signed itself", () => {
    const signedBy = { ...east.ca, ...federation.root };
    const direct = federation.credential("east", "shop", "cart", { signedBy });
    expect(codeOf(verifyChain(direct.chainDer, index, NOW))).toBe("peer_issuer_mismatch");
    expect(codeOf(verifyChain(direct.chainDer.slice(0, 1), index, NOW))).toBe("peer_issuer_mismatch");
  });

  it("refuses a chain of another federation that has all the same names", () => {
    const twin = createTestFederation("demo.mesh", ["east"], NOW);
    const cart = twin.credential("east", "shop", "cart");
    expect(codeOf(verifyChain(cart.chainDer, index, NOW))).toBe("peer_certificate_untrusted");
    const withRoot = [...cart.chainDer, twin.root.certificateDer];
    expect(codeOf(verifyChain(withRoot, index, NOW))).toBe("peer_certificate_untrusted");
  });

  it("refuses a leaf without its CA, a CA as a leaf, and chains that are out of order, cut or too long", () => {
    const { chainDer } = federation.credential("east", "shop", "cart");
    const [leaf, ca] = [chainDer[0]!, chainDer[1]!];
    const root = federation.root.certificateDer;
    expect(codeOf(verifyChain([], index, NOW))).toBe("peer_certificate_missing");
    expect(codeOf(verifyChain([leaf], index, NOW))).toBe("peer_certificate_untrusted");
    expect(codeOf(verifyChain([ca, root], index, NOW))).toBe("peer_certificate_profile");
    expect(codeOf(verifyChain([leaf, root, ca], index, NOW))).toBe("peer_issuer_mismatch");
    expect(codeOf(verifyChain([leaf, ca, ca], index, NOW))).toBe("peer_certificate_untrusted");
    expect(codeOf(verifyChain([leaf, leaf], index, NOW))).toBe("peer_certificate_profile");
    expect(codeOf(verifyChain([leaf, ca, root, root], index, NOW))).toBe("peer_certificate_profile");
    expect(codeOf(verifyChain([leaf.subarray(0, 300), ca], index, NOW))).toBe("peer_certificate_profile");
    expect(codeOf(verifyChain([Buffer.concat([leaf, leaf]), ca], index, NOW))).toBe(
      "peer_certificate_profile",
    );
  });

  it("refuses a leaf when its CA has expired or is not valid yet", () => {
    for (const [notBeforeMs, notAfterMs, code] of [
      [NOW - 10_000, NOW - 1000, "peer_certificate_expired"],
      [NOW + 1000, NOW + 10_000, "peer_certificate_not_yet_valid"],
    ] as const) {
      const own = createTestCa({
        trustDomain: east.trustDomain,
        now: NOW,
        overrides: { notBeforeMs, notAfterMs },
      });
      const bundles = indexBundles([bundleOf(east.trustDomain, own.certificateDer)]);
      const leaf = federation.credential("east", "shop", "cart", { signedBy: own });
      expect(codeOf(verifyChain(leaf.chainDer, bundles, NOW))).toBe(code);
    }
  });

  it("judges the dates of a proven CA again with every chain", () => {
    const own = createTestCa({
      trustDomain: east.trustDomain,
      now: NOW,
      overrides: { notAfterMs: NOW + 1000 },
    });
    const bundles = indexBundles([bundleOf(east.trustDomain, own.certificateDer)]);
    const leaf = federation.credential("east", "shop", "cart", { signedBy: own });
    expect(codeOf(verifyChain(leaf.chainDer, bundles, NOW))).toBe("accepted");
    expect(codeOf(verifyChain(leaf.chainDer, bundles, NOW + 2000))).toBe("peer_certificate_expired");
  });
});
