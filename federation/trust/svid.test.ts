import { describe, expect, it } from "vitest";
import { createTestFederation } from "../../test/fakes/pki.ts";
import { trustDomainSpiffeId, workloadSpiffeId } from "../model/spiffe-id.ts";
import { loadClusterCa } from "./cluster-ca.ts";
import { privateKeyToPem } from "./keys.ts";
import { issueSvid, shouldRotate } from "./svid.ts";

const NOW = Date.UTC(2026, 10, 1, 12, 0, 0, 500);
const HOUR_MS = 3_600_000;
const federation = createTestFederation("demo.mesh", ["east", "west"], NOW);
const { ca, trustDomain } = federation.cluster("east");
const spiffeId = workloadSpiffeId(trustDomain, "shop", "cart");

describe("an SVID", () => {
  it("lives for an hour, and says so in whole seconds as its certificate does", () => {
    const svid = issueSvid({ ca, spiffeId, now: NOW });
    expect(svid.notAfterMs).toBe(NOW - 500 + HOUR_MS);
    expect(svid.notBeforeMs).toBe(NOW - 500 - 60_000);
  });

  it("ends with its CA at the latest", () => {
    const svid = issueSvid({ ca, spiffeId, now: NOW, lifetimeMs: 1e12 });
    expect(svid.notAfterMs).toBe(ca.notAfterMs);
  });

  it("has a new key each time", () => {
    const [one, two] = [issueSvid({ ca, spiffeId, now: NOW }), issueSvid({ ca, spiffeId, now: NOW })];
    expect(one.privateKey.equals(two.privateKey)).toBe(false);
  });

  it("is not issued for another trust domain, nor for the trust domain itself", () => {
    const foreign = workloadSpiffeId(federation.cluster("west").trustDomain, "shop", "cart");
    expect(() => issueSvid({ ca, spiffeId: foreign, now: NOW })).toThrow(TypeError);
    expect(() => issueSvid({ ca, spiffeId: trustDomainSpiffeId(trustDomain), now: NOW })).toThrow(TypeError);
  });
});

describe("rotation", () => {
  const credential = { notBeforeMs: 0, notAfterMs: 1000 };
  it.each([
    [0, 449, false],
    [0, 450, true],
    [0.5, 499, false],
    [0.5, 500, true],
    [1, 549, false],
    [1, 550, true],
    [1, 5000, true],
  ])("with jitter %d at %d of a life of 1000: %s", (jitter, now, due) => {
    expect(shouldRotate(credential, now, jitter)).toBe(due);
  });
});

describe("a cluster's CA on disk", () => {
  const privateKeyPem = privateKeyToPem(ca.privateKey);

  it("is loaded with the trust domain it is for", () => {
    expect(loadClusterCa({ certificatePem: ca.certificatePem, privateKeyPem })).toMatchObject({
      ok: true,
      value: { trustDomain: "east.demo.mesh", notAfterMs: ca.notAfterMs },
    });
  });

  it("is loaded although it has expired: a cluster must start, say so and renew", () => {
    const old = createTestFederation("demo.mesh", ["east"], Date.UTC(2020, 0, 1)).cluster("east").ca;
    const files = { certificatePem: old.certificatePem, privateKeyPem: privateKeyToPem(old.privateKey) };
    expect(loadClusterCa(files).ok).toBe(true);
  });

  it("is refused with another key, as a leaf, or damaged", () => {
    const leaf = issueSvid({ ca, spiffeId, now: NOW });
    const leafPem = leaf.chainPem.slice(0, leaf.chainPem.indexOf("-----END CERTIFICATE-----") + 26);
    for (const files of [
      { certificatePem: ca.certificatePem, privateKeyPem: leaf.privateKeyPem },
      { certificatePem: leafPem, privateKeyPem: leaf.privateKeyPem },
      { certificatePem: ca.certificatePem.slice(0, 300), privateKeyPem },
      { certificatePem: ca.certificatePem, privateKeyPem: privateKeyPem.slice(0, 100) },
      { certificatePem: "", privateKeyPem: "" },
    ]) {
      expect(loadClusterCa(files)).toMatchObject({ ok: false, error: { name: "state_unusable" } });
    }
  });
});
