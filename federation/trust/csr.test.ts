import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import * as x509 from "@peculiar/x509";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { parseTrustDomain } from "../model/spiffe-id.ts";
import { createClusterKey, createCsr, parseCsr } from "./csr.ts";
import { decodePem, encodePem } from "./pem.ts";
import { createRoot, issueClusterCa, loadRoot } from "./root.ts";

const NOW = Date.UTC(2026, 10, 1);
const trustDomain = unwrap(parseTrustDomain("east.demo.mesh"));
const good = createCsr({ privateKey: createClusterKey(), trustDomain });
const goodDer = decodePem("CERTIFICATE REQUEST", good)![0]!;

/** What another tool would make: @peculiar/x509 with any names, attributes and keys. */
async function foreignCsr(extensions: x509.Extension[], algorithm: EcKeyGenParams): Promise<string> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=east",
    keys,
    signingAlgorithm: { name: "ECDSA", hash: "SHA-256" } as EcdsaParams,
    extensions,
  });
  return request.toString("pem");
}

type EcKeyGenParams = { name: "ECDSA"; namedCurve: string };
type EcdsaParams = Parameters<typeof x509.Pkcs10CertificateRequestGenerator.create>[0]["signingAlgorithm"];
const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const uri = (value: string) => ({ type: "url", value }) as const;
const asked = new x509.SubjectAlternativeNameExtension([uri("spiffe://east.demo.mesh")]);

describe("a certificate signing request", () => {
  it("is read back with its key and the trust domain it asks for", () => {
    const privateKey = createClusterKey();
    const csr = unwrap(parseCsr(createCsr({ privateKey, trustDomain })));
    expect(csr.spiffeUri).toBe("spiffe://east.demo.mesh");
    expect(csr.publicKey.export({ format: "jwk" })).toMatchObject({ crv: "P-256" });
  });

  it("may be made by another tool", async () => {
    expect(parseCsr(await foreignCsr([asked], P256))).toMatchObject({ ok: true });
  });

  it("is refused with a key that is not P-256", async () => {
    const pem = await foreignCsr([asked], { name: "ECDSA", namedCurve: "P-384" });
    expect(parseCsr(pem)).toMatchObject({ ok: false, error: { name: "csr_invalid" } });
  });

  it("is refused when it asks for several names, for none, or for other extensions", async () => {
    const two = new x509.SubjectAlternativeNameExtension([uri("spiffe://a"), uri("spiffe://b")]);
    const dns = new x509.SubjectAlternativeNameExtension([{ type: "dns", value: "east" }]);
    const ca = new x509.BasicConstraintsExtension(true, 5, true);
    for (const extensions of [[two], [dns], [ca], [asked, ca], []]) {
      expect(parseCsr(await foreignCsr(extensions, P256))).toMatchObject({ error: { name: "csr_invalid" } });
    }
  });

  it("is refused when any byte of it was changed", () => {
    fc.assert(
      fc.property(fc.nat(goodDer.length - 1), fc.integer({ min: 1, max: 255 }), (at, difference) => {
        const changed = Buffer.from(goodDer);
        changed[at] = changed[at]! ^ difference;
        expect(parseCsr(encodePem("CERTIFICATE REQUEST", changed)).ok).toBe(false);
      }),
      { numRuns: 300 },
    );
  });

  it.each([
    ["nothing", ""],
    ["another block", good.replaceAll("CERTIFICATE REQUEST", "CERTIFICATE")],
    ["two blocks", good + good],
    ["text around the block", `hello\n${good}`],
    ["a blank inside the base64", good.replace("MI", "M I")],
    ["half of it", good.slice(0, good.length / 2)],
    ["too much", good + "\n".repeat(10_000)],
  ])("is refused as %s", (_, pem) => {
    expect(parseCsr(pem)).toMatchObject({ ok: false, error: { name: "csr_invalid" } });
  });
});

describe("the root", () => {
  const root = unwrap(loadRoot(createRoot({ federation: "demo.mesh", now: NOW })));

  it("refuses to certify a cluster as another one", () => {
    const west = unwrap(parseTrustDomain("west.demo.mesh"));
    expect(issueClusterCa({ root, csrPem: good, trustDomain: west, now: NOW })).toMatchObject({
      ok: false,
      error: { name: "csr_invalid", detail: expect.stringContaining("west.demo.mesh") },
    });
  });

  it("issues nothing that outlives it", () => {
    const short = unwrap(loadRoot(createRoot({ federation: "demo.mesh", now: NOW, lifetimeMs: 60_000 })));
    const pem = unwrap(issueClusterCa({ root: short, csrPem: good, trustDomain, now: NOW }));
    const der = decodePem("CERTIFICATE", pem)![0]!;
    expect(new Date(new x509.X509Certificate(Uint8Array.from(der)).notAfter).getTime()).toBe(NOW + 60_000);
  });

  it("is refused when its files are damaged or do not belong together, without showing the key", () => {
    const files = createRoot({ federation: "demo.mesh", now: NOW });
    const other = createRoot({ federation: "demo.mesh", now: NOW });
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
    const damaged = [
      { ...files, privateKeyPem: files.privateKeyPem.slice(0, 100) },
      { ...files, privateKeyPem: other.privateKeyPem },
      { ...files, privateKeyPem: rsa.export({ format: "pem", type: "pkcs8" }).toString() },
      { ...files, certificatePem: files.certificatePem.slice(0, 200) },
      { ...files, certificatePem: "" },
      { ...files, certificatePem: files.certificatePem + other.certificatePem },
    ];
    for (const pair of damaged) {
      const loaded = loadRoot(pair);
      expect(loaded).toMatchObject({ ok: false, error: { name: "state_unusable" } });
      expect(JSON.stringify(loaded)).not.toContain(pair.privateKeyPem.slice(30, 60));
    }
  });

  it("does not take a name that is no trust domain", () => {
    expect(() => createRoot({ federation: "Demo Mesh", now: NOW })).toThrow(TypeError);
  });
});
