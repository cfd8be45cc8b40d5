import { createPublicKey } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { type ClusterCa, createClusterKey, indexBundles, signSvid } from "../../federation/trust/index.ts";
import { encodePem } from "../../federation/trust/pem.ts";
import {
  bundleOf,
  createTestCluster,
  createTestFederation,
  type CredentialOverrides,
  mintCredential,
  unwrap,
} from "../../test/fakes/pki.ts";
import { certificateRequest, judgeIssued, requestState } from "./certificate-request.ts";

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

describe("a CertificateRequest", () => {
  it("asks its issuer for a leaf that is server and client, for as long as an SVID lives", () => {
    const issuer = { kind: "Issuer", group: "cert-manager.io", name: "isthmus-ca" };
    const object = certificateRequest({ name: "gateway-1-x", issuer, csrPem: "CSR", lifetimeMs: HOUR_MS });
    expect(object).toEqual({
      apiVersion: "cert-manager.io/v1",
      kind: "CertificateRequest",
      metadata: {
        namespace: "isthmus-system",
        name: "gateway-1-x",
        labels: { "isthmus.dev/managed-by": "isthmus" },
      },
      spec: {
        request: Buffer.from("CSR").toString("base64"),
        issuerRef: issuer,
        duration: "3600s",
        usages: ["digital signature", "server auth", "client auth"],
        isCA: false,
      },
    });
  });
});

const condition = (type: string, status: string, reason = "Why", message = "because") => ({
  type,
  status,
  reason,
  message,
});
const APPROVED = condition("Approved", "True");

describe("what has become of a request", () => {
  it.each([
    ["nothing is there yet", [], { kind: "pending", detail: "nobody has approved it" }],
    ["it is approved", [APPROVED], { kind: "pending", detail: "no issuer has taken it up" }],
    [
      "its issuer waits",
      [APPROVED, condition("Ready", "False", "Pending", "Secret not found")],
      { kind: "pending", detail: "Pending: Secret not found" },
    ],
    ["it is denied", [condition("Denied", "True")], { kind: "refused", detail: "Denied: Why: because" }],
    [
      "it is denied, and Ready says so first",
      [condition("Ready", "False", "Denied", "")],
      { kind: "refused", detail: "Denied" },
    ],
    [
      "it is invalid, though it is ready",
      [condition("Ready", "True"), condition("InvalidRequest", "True")],
      { kind: "refused", detail: "InvalidRequest: Why: because" },
    ],
    [
      "its issuer failed",
      [APPROVED, condition("Ready", "False", "Failed")],
      { kind: "refused", detail: "Failed: because" },
    ],
    [
      "a denial is not true",
      [condition("Denied", "False")],
      { kind: "pending", detail: "nobody has approved it" },
    ],
    ["conditions are no list", "x", { kind: "pending", detail: "nobody has approved it" }],
    ["it is issued", [condition("Ready", "True")], { kind: "issued", certificate: "leaf", ca: "" }],
  ])("%s", (_, conditions, expected) => {
    const certificate = Buffer.from("leaf").toString("base64");
    expect(requestState({ status: { conditions, certificate } })).toEqual(expected);
  });

  it("is never issued unless a condition Ready is True, whatever else stands there", () => {
    const word = fc.constantFrom(
      "Ready",
      "Denied",
      "InvalidRequest",
      "Approved",
      "True",
      "False",
      "Failed",
      "",
    );
    const anyCondition = fc.record({ type: word, status: word, reason: word, message: fc.anything() });
    const conditions = fc.array(fc.oneof(anyCondition, fc.anything()));
    fc.assert(
      fc.property(fc.oneof(conditions, fc.anything()), fc.anything(), (given, certificate) => {
        const state = requestState({ status: { conditions: given, certificate, ca: certificate } });
        const has = (type: string): boolean =>
          Array.isArray(given) &&
          given.some(
            (each: { type?: unknown; status?: unknown } | null | undefined) =>
              each?.type === type && each.status === "True",
          );
        if (state.kind === "issued") expect(has("Ready")).toBe(true);
      }),
      { numRuns: 500, seed: 59 },
    );
  });

  it("is nothing where the answer is no object, and no text where it is too long", () => {
    expect(requestState(null)).toMatchObject({ kind: "pending" });
    const long = { conditions: [condition("Ready", "True")], certificate: "A".repeat(70_000) };
    expect(requestState({ status: long })).toMatchObject({ kind: "issued", certificate: "" });
  });
});

function scene() {
  const federation = createTestFederation("demo.mesh", ["west", "east"], NOW);
  const { ca, trustDomain } = federation.cluster("west");
  const spiffeId = workloadSpiffeId(trustDomain, "shop", "web");
  const privateKey = createClusterKey();
  const publicKey = createPublicKey(privateKey);
  const asked = { spiffeId, publicKey, bundles: federation.index, now: NOW };
  const leafBy = (signer: ClusterCa): string => {
    const [leaf] = signSvid({ ca: signer, publicKey, spiffeId, now: NOW }).chainDer;
    return pem(leaf ?? Buffer.alloc(0));
  };
  const other = (name: string) => workloadSpiffeId(trustDomain, "shop", name);
  return { federation, ca, trustDomain, spiffeId, asked, leafBy, other };
}

const pem = (der: Buffer): string => encodePem("CERTIFICATE", der);

describe("what an issuer has signed", () => {
  it("is presented below the certificate of the CA that lives longest, whichever of its key's came with it", () => {
    const { ca, asked, leafBy, federation } = scene();
    const leaf = leafBy(ca);
    const alone = unwrap(judgeIssued({ certificate: leaf, ca: "" }, asked, ca));
    expect(alone.chainDer[1]).toEqual(ca.certificateDer);
    const root = pem(federation.root.certificateDer);
    const whole = unwrap(judgeIssued({ certificate: leaf + ca.certificatePem, ca: root }, asked, ca));
    expect(whole.chainDer).toEqual(alone.chainDer);
  });

  it("may be signed by an earlier CA of the cluster, until the issuer has the new one's key", () => {
    const { ca, asked, leafBy, federation } = scene();
    const next = createTestCluster("demo.mesh", "west", federation.root, NOW).ca;
    const judged = unwrap(judgeIssued({ certificate: leafBy(ca) + ca.certificatePem, ca: "" }, asked, next));
    expect(judged.chainDer[1]).toEqual(ca.certificateDer);
    expect(judgeIssued({ certificate: leafBy(ca), ca: "" }, asked, next)).toMatchObject({
      error: { name: "ca_certificate_unusable" },
    });
  });

  const wrong: readonly (readonly [string, CredentialOverrides, RegExp])[] = [
    ["names two", { uriSans: ["spiffe://west.demo.mesh/a", "spiffe://west.demo.mesh/b"] }, /ISTH-1005/],
    ["names nobody", { uriSans: [] }, /ISTH-1005/],
    ["names another cluster's", { uriSans: ["spiffe://east.demo.mesh/ns/shop/sa/web"] }, /ISTH-10/],
    ["is a CA", { ca: true, keyUsage: ["keyCertSign"] }, /is a CA/],
    ["is for clients only", { extendedKeyUsage: ["clientAuth"] }, /without both server and client/],
    ["may not sign", { keyUsage: ["keyAgreement"] }, /may not make signatures/],
    ["has ended", { notAfterMs: NOW - 1_000 }, /ISTH-1003/],
    ["has not begun", { notBeforeMs: NOW + 60_000, notAfterMs: NOW + HOUR_MS }, /ISTH-1004/],
    ["lives for months", { notAfterMs: NOW + 60 * 24 * HOUR_MS }, /it lives 1440 hours, 24 at most/],
  ];
  it.each(wrong)("is refused when it %s", (_, overrides, reason) => {
    const { ca, spiffeId, asked } = scene();
    const made = mintCredential(ca, spiffeId, NOW, overrides);
    const publicKey = createPublicKey(made.privateKey);
    const certificate = pem(made.chainDer[0] ?? Buffer.alloc(0));
    const judged = judgeIssued({ certificate, ca: "" }, { ...asked, publicKey }, ca);
    expect(judged).toMatchObject({ error: { name: "ca_certificate_unusable" } });
    expect(judged.ok ? "" : judged.error.detail).toMatch(reason);
  });

  it("is refused for another workload, another key, or under a CA that nobody has certified", () => {
    const { ca, asked, leafBy, other, federation } = scene();
    const refused = (certificate: string, by = asked): string => {
      const judged = judgeIssued({ certificate, ca: "" }, by, ca);
      expect(judged).toMatchObject({ error: { name: "ca_certificate_unusable" } });
      return judged.ok ? "" : judged.error.detail;
    };
    expect(refused(leafBy(ca), { ...asked, spiffeId: other("cart") })).toContain("asked for");
    expect(refused(leafBy(ca), { ...asked, publicKey: createPublicKey(createClusterKey()) })).toContain(
      "key",
    );
    const rogue = createTestCluster("demo.mesh", "west", createTestFederation("demo.mesh", []).root, NOW).ca;
    expect(refused(leafBy(rogue) + rogue.certificatePem)).toContain("ISTH-1002");
    const foreign = indexBundles([bundleOf(asked.spiffeId.trustDomain, rogue.certificateDer)]);
    expect(refused(leafBy(ca), { ...asked, bundles: foreign })).toContain("ISTH-1002");
    expect(federation.index.get(asked.spiffeId.trustDomain)).toBeDefined();
  });

  it("is refused when it is no certificate", () => {
    const { ca, asked } = scene();
    for (const certificate of ["", "x", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"])
      expect(judgeIssued({ certificate, ca: "garbage" }, asked, ca)).toMatchObject({
        error: { name: "ca_certificate_unusable" },
      });
  });
});
