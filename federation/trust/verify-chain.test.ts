import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bundleOf,
  type CredentialOverrides,
  createTestCa,
  createTestFederation,
  mintCredential,
  unwrap,
} from "../../test/fakes/pki.ts";
import { parseTrustDomain, workloadSpiffeId } from "../model/spiffe-id.ts";
import { indexBundles } from "./bundle-index.ts";
import { encodeDer, octetString, sequence, tagged, taggedBytes } from "./der-write.ts";
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

describe("with a root of one's own", () => {
  const trustDomain = unwrap(parseTrustDomain("own.example"));
  const id = workloadSpiffeId(trustDomain, "shop", "cart");
  const root = createTestCa({ trustDomain, now: NOW });
  const bundles = indexBundles([bundleOf(trustDomain, root.certificateDer)]);
  const below = (overrides: Parameters<typeof createTestCa>[0]["overrides"] = {}) =>
    createTestCa({ trustDomain, now: NOW, parent: root, overrides });
  const codeOfChain = (chainDer: readonly Uint8Array[], within = bundles) =>
    codeOf(verifyChain(chainDer, within, NOW));

  it("a leaf directly below it is accepted, presented alone or with it", () => {
    const leaf = mintCredential(root, id, NOW).chainDer;
    expect(codeOfChain(leaf)).toBe("accepted");
    expect(codeOfChain(leaf.slice(0, 1))).toBe("accepted");
  });

  it("an intermediate is accepted, and refused as soon as anything is wrong with it", () => {
    const wrong: readonly [string, string, Parameters<typeof createTestCa>[0]["overrides"]][] = [
      ["nothing", "accepted", {}],
      ["no CA flag", "peer_certificate_profile", { ca: undefined }],
      ["no right to sign certificates", "peer_certificate_profile", { keyUsage: ["digitalSignature"] }],
      [
        "two IDs",
        "peer_certificate_profile",
        { uriSans: ["spiffe://own.example", "spiffe://other.example"] },
      ],
      ["an ID with a path", "peer_certificate_profile", { uriSans: ["spiffe://own.example/ca"] }],
      ["no ID", "peer_issuer_mismatch", { uriSans: [] }],
      ["another ID", "peer_issuer_mismatch", { uriSans: ["spiffe://other.example"] }],
      ["no subject", "peer_certificate_profile", { subject: undefined }],
      ["a constraint to others", "peer_issuer_mismatch", { permittedUriHosts: ["other.example"] }],
      ["a constraint to hosts below", "peer_issuer_mismatch", { permittedUriHosts: [".own.example"] }],
      ["a constraint to it and others", "accepted", { permittedUriHosts: ["other.example", "own.example"] }],
      ["only server authentication", "peer_certificate_profile", { extendedKeyUsage: ["serverAuth"] }],
      ["an expiry", "peer_certificate_expired", { notAfterMs: NOW - 1000 }],
    ];
    for (const [what, code, overrides] of wrong) {
      const leaf = mintCredential(below(overrides), id, NOW);
      expect([what, codeOfChain(leaf.chainDer)]).toEqual([what, code]);
    }
  });

  it("path lengths are respected", () => {
    const strict = createTestCa({ trustDomain, now: NOW, overrides: { ca: { pathLength: 0 } } });
    const within = indexBundles([bundleOf(trustDomain, strict.certificateDer)]);
    const between = createTestCa({ trustDomain, now: NOW, parent: strict });
    expect(codeOfChain(mintCredential(strict, id, NOW).chainDer, within)).toBe("accepted");
    expect(codeOfChain(mintCredential(between, id, NOW).chainDer, within)).toBe("peer_certificate_profile");
  });

  it("a cluster's CA cannot make another CA", () => {
    const sub = createTestCa({ trustDomain: east.trustDomain, now: NOW, parent: east.ca });
    const leaf = mintCredential(sub, workloadSpiffeId(east.trustDomain, "shop", "cart"), NOW);
    const chain = [...leaf.chainDer, east.ca.certificateDer];
    expect(codeOfChain(chain, index)).toBe("peer_certificate_profile");
  });

  it("a constraint on names that we cannot judge forbids those names, and no others", () => {
    const dnsOnly = encodeDer(sequence(tagged(0, sequence(taggedBytes(2, Buffer.from("svc"))))));
    const constrained = below({ extra: [{ oid: "2.5.29.30", critical: true, value: dnsOnly }] });
    expect(codeOfChain(mintCredential(constrained, id, NOW).chainDer)).toBe("accepted");
    const withDns = mintCredential(constrained, id, NOW, { dnsSans: ["cart.svc"] });
    expect(codeOfChain(withDns.chainDer)).toBe("peer_issuer_mismatch");
  });

  it("an excluded host is refused, whatever is permitted", () => {
    const excluded = encodeDer(sequence(tagged(1, sequence(taggedBytes(6, Buffer.from("own.example"))))));
    const constrained = below({ extra: [{ oid: "2.5.29.30", critical: true, value: excluded }] });
    expect(codeOfChain(mintCredential(constrained, id, NOW).chainDer)).toBe("peer_issuer_mismatch");
  });

  it("bundles stay apart: another domain's root does not vouch for this one", () => {
    const other = unwrap(parseTrustDomain("other.example"));
    const otherRoot = createTestCa({ trustDomain: other, now: NOW });
    const both = indexBundles([
      bundleOf(trustDomain, root.certificateDer),
      bundleOf(other, otherRoot.certificateDer),
    ]);
    // The rogue root also calls itself own.example's CA, so that only the bundle is left to tell.
    const rogue = createTestCa({ trustDomain, now: NOW, parent: otherRoot });
    expect(codeOfChain(mintCredential(rogue, id, NOW).chainDer, both)).toBe("peer_certificate_untrusted");
    const self = { ...otherRoot, trustDomain };
    expect(codeOfChain(mintCredential(self, id, NOW).chainDer, both)).toBe("peer_issuer_mismatch");
  });

  it("old and new root serve together while one follows the other", () => {
    const next = createTestCa({ trustDomain, now: NOW });
    const both = indexBundles([bundleOf(trustDomain, root.certificateDer, next.certificateDer)]);
    expect(codeOfChain(mintCredential(root, id, NOW).chainDer, both)).toBe("accepted");
    expect(codeOfChain(mintCredential(next, id, NOW).chainDer, both)).toBe("accepted");
    expect(codeOfChain(mintCredential(next, id, NOW).chainDer)).toBe("peer_certificate_untrusted");
  });

  it("an authority that cannot be read harms no other one", () => {
    const good = bundleOf(trustDomain, root.certificateDer);
    const mixed = { ...good, x509Authorities: ["", "AAAA", "%%%", ...good.x509Authorities] };
    expect(codeOfChain(mintCredential(root, id, NOW).chainDer, indexBundles([mixed]))).toBe("accepted");
  });

  it("an empty bundle means that everything is revoked", () => {
    expect(codeOfChain(mintCredential(root, id, NOW).chainDer, indexBundles([bundleOf(trustDomain)]))).toBe(
      "peer_certificate_untrusted",
    );
  });
});

describe("a chain from a stranger", () => {
  const cart = federation.credential("east", "shop", "cart");

  it("is refused when any byte of any certificate was changed", () => {
    const which = fc.nat(cart.chainDer.length - 1);
    fc.assert(
      fc.property(
        which,
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        fc.integer({ min: 1, max: 255 }),
        (n, at, flip) => {
          const chain = cart.chainDer.map((der) => Buffer.from(der));
          const der = chain[n]!;
          const offset = Math.floor(at * der.length);
          der[offset] = der[offset]! ^ flip;
          expect(verifyChain(chain, index, NOW).ok).toBe(false);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it("is refused when bytes are cut out or put in", () => {
    const leaf = cart.chainDer[0]!;
    const at = fc.nat(leaf.length - 1);
    fc.assert(
      fc.property(at, at, fc.uint8Array({ minLength: 1, maxLength: 8 }), (from, to, extra) => {
        const [low, high] = [Math.min(from, to), Math.max(from, to) + 1];
        const cut = Buffer.concat([leaf.subarray(0, low), leaf.subarray(high)]);
        const grown = Buffer.concat([leaf.subarray(0, low), extra, leaf.subarray(low)]);
        expect(verifyChain([cut, cart.chainDer[1]!], index, NOW).ok).toBe(false);
        expect(verifyChain([grown, cart.chainDer[1]!], index, NOW).ok).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it("is refused, and never throws, as random bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }), (chain) => {
        expect(verifyChain(chain, index, NOW).ok).toBe(false);
      }),
      { numRuns: 500 },
    );
  });

  it("is judged within 50 ms, whatever names and constraints it is stuffed with", () => {
    const subtrees = (n: number) =>
      encodeDer(
        sequence(
          tagged(0, ...Array.from({ length: n }, (_, i) => sequence(taggedBytes(6, Buffer.from(`h${i}`))))),
        ),
      );
    const stuffed = createTestCa({
      trustDomain: east.trustDomain,
      now: NOW,
      overrides: { extra: [{ oid: "2.5.29.30", critical: true, value: subtrees(700) }] },
    });
    const bundles = indexBundles([bundleOf(east.trustDomain, stuffed.certificateDer)]);
    const dnsSans = Array.from({ length: 1000 }, (_, i) => `n${i}`);
    const leaf = federation.credential("east", "shop", "cart", { signedBy: stuffed, dnsSans });
    const began = performance.now();
    expect(codeOf(verifyChain(leaf.chainDer, bundles, NOW))).not.toBe("accepted");
    expect(performance.now() - began).toBeLessThan(50);
  });

  it("cannot nest deeper than its reader, which does not recurse", () => {
    let nested = sequence();
    for (let depth = 0; depth < 1000; depth++) nested = sequence(nested);
    expect(
      codeOf(verifyChain([encodeDer(nested), encodeDer(octetString(Buffer.alloc(9)))], index, NOW)),
    ).toBe("peer_certificate_profile");
  });
});
