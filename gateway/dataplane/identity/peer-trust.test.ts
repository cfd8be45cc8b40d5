import { X509Certificate } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { systemSpiffeId } from "../../../federation/model/spiffe-id.ts";
import { type Credential, createRoot, issueSvid, loadRoot } from "../../../federation/trust/index.ts";
import {
  bundleOf,
  createTestCluster,
  createTestFederation,
  type TestFederation,
  unwrap,
} from "../../../test/fakes/pki.ts";
import {
  compilePeerTrust,
  type ExpectedPeer,
  type PeerTrust,
  trustsDomain,
  verifyPeer,
} from "./peer-trust.ts";

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

let federation: TestFederation;
let trust: PeerTrust;
beforeAll(() => {
  federation = createTestFederation("test.mesh", ["east", "west"], NOW);
  trust = compilePeerTrust(federation.bundles, []);
});

const judge = ({ chainDer }: Credential, expected?: ExpectedPeer, now = NOW) =>
  verifyPeer(chainDer, trust, now, expected);

/** As Node shows a client's chain to a server: the leaf only. */
const judgeLeaf = ({ chainDer }: Credential) => verifyPeer(chainDer.slice(0, 1), trust, NOW);

const refusal = (name: string) => ({ ok: false, error: { name } });

describe("verifyPeer", () => {
  it("finds who the peer is and until when", () => {
    const credential = federation.system("west", "gateway");
    expect(judge(credential)).toEqual({
      ok: true,
      value: { spiffeId: credential.spiffeId, notAfterMs: credential.notAfterMs },
    });
  });

  it("completes a lone leaf with the CA that signed it", () => {
    expect(judgeLeaf(federation.system("west", "gateway"))).toMatchObject({ ok: true });
  });

  it("refuses when there is no certificate, or something that is none", () => {
    expect(verifyPeer([], trust, NOW)).toMatchObject(refusal("peer_certificate_missing"));
    expect(verifyPeer([Buffer.from("garbage")], trust, NOW)).toMatchObject(
      refusal("peer_certificate_profile"),
    );
  });

  const forgeries: readonly (readonly [what: string, name: string, forge: () => Credential])[] = [
    [
      "another cluster's CA signed it",
      "peer_issuer_mismatch",
      () => federation.system("west", "gateway", { signedBy: federation.cluster("east").ca }),
    ],
    [
      "it has no SPIFFE ID",
      "peer_spiffe_id_invalid",
      () => federation.system("west", "gateway", { uriSans: [] }),
    ],
    [
      "it has two SPIFFE IDs",
      "peer_spiffe_id_invalid",
      () =>
        federation.system("west", "gateway", {
          uriSans: ["spiffe://west.test.mesh/a", "spiffe://west.test.mesh/b"],
        }),
    ],
    ["it is a CA", "peer_certificate_profile", () => federation.system("west", "gateway", { ca: true })],
    [
      "it has expired",
      "peer_certificate_expired",
      () =>
        federation.system("west", "gateway", { notBeforeMs: NOW - 2 * HOUR_MS, notAfterMs: NOW - HOUR_MS }),
    ],
    [
      "it is not valid yet",
      "peer_certificate_not_yet_valid",
      () =>
        federation.system("west", "gateway", { notBeforeMs: NOW + HOUR_MS, notAfterMs: NOW + 2 * HOUR_MS }),
    ],
    ["it comes from a foreign root", "peer_certificate_untrusted", foreign],
    ["its cluster is not known here", "peer_trust_domain_unknown", third],
  ];

  it.each(forgeries)("refuses when %s: %s, with or without its chain", (_when, name, forge) => {
    const credential = forge();
    expect(judge(credential)).toMatchObject(refusal(name));
    expect(judgeLeaf(credential)).toMatchObject(refusal(name));
  });

  it("refuses a cluster that was revoked", () => {
    const denying = compilePeerTrust(federation.bundles, [federation.cluster("west").trustDomain]);
    const { chainDer } = federation.system("west", "gateway");
    expect(verifyPeer(chainDer, denying, NOW)).toMatchObject(refusal("peer_denied"));
    expect(verifyPeer(federation.system("east", "gateway").chainDer, denying, NOW).ok).toBe(true);
  });

  it("refuses a valid peer that is not the expected one, by cluster and by role", () => {
    const expected = { trustDomain: federation.cluster("east").trustDomain, role: "gateway" } as const;
    expect(judge(federation.system("east", "gateway"), expected).ok).toBe(true);
    for (const other of [
      federation.system("west", "gateway"),
      federation.system("east", "agent"),
      federation.credential("east", "shop", "gateway"),
    ]) {
      expect(judge(other, expected)).toMatchObject(refusal("peer_unexpected"));
    }
  });
});

describe("compiled trust", () => {
  it("names every authority once, as PEM that OpenSSL can read", () => {
    expect(trust.authoritiesPem).toHaveLength(1);
    const [pem = ""] = trust.authoritiesPem;
    expect(new X509Certificate(pem).raw.equals(federation.root.certificateDer)).toBe(true);
  });

  it("trusts the domains that have a bundle and were not denied", () => {
    const west = federation.cluster("west").trustDomain;
    expect(trustsDomain(west, trust)).toBe(true);
    expect(trustsDomain(west, compilePeerTrust(federation.bundles, [west]))).toBe(false);
    expect(trustsDomain(west, compilePeerTrust(federation.bundles.slice(0, 1), []))).toBe(false);
  });

  it("does not let a bundle's authorities speak for another domain", () => {
    const own = unwrap(loadRoot(createRoot({ federation: "other", now: NOW })));
    const { trustDomain } = federation.cluster("east");
    const mixed = compilePeerTrust(
      [bundleOf(trustDomain, own.certificateDer), ...federation.bundles.slice(1)],
      [],
    );
    expect(verifyPeer(federation.system("east", "gateway").chainDer, mixed, NOW)).toMatchObject(
      refusal("peer_certificate_untrusted"),
    );
  });
});

function foreign(): Credential {
  const root = unwrap(loadRoot(createRoot({ federation: "test.mesh", now: NOW })));
  const { ca, trustDomain } = createTestCluster("test.mesh", "west", root, NOW);
  return issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now: NOW });
}

function third(): Credential {
  const { ca, trustDomain } = createTestCluster("test.mesh", "north", federation.root, NOW);
  return issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now: NOW });
}
