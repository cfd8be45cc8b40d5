import { describe, expect, it } from "vitest";
import {
  bundleOf,
  createTestCa,
  createTestFederation,
  mintCredential,
  unwrap,
} from "../../test/fakes/pki.ts";
import { parseTrustDomain, workloadSpiffeId } from "../model/spiffe-id.ts";
import { indexBundles } from "./bundle-index.ts";
import { encodeDer, sequence, tagged, taggedBytes } from "./der-write.ts";
import { verifyChain } from "./verify-chain.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const federation = createTestFederation("demo.mesh", ["east"], NOW);
const { index } = federation;
const east = federation.cluster("east");

function codeOf(result: ReturnType<typeof verifyChain>): string {
  return result.ok ? "accepted" : result.error.name;
}

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
