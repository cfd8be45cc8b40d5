import "reflect-metadata";
import { execFileSync, spawnSync } from "node:child_process";
import { createPublicKey, X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import { afterAll, describe, expect, it } from "vitest";
import { createTestCa, createTestFederation, mintCredential, unwrap } from "../../test/fakes/pki.ts";
import { workloadSpiffeId } from "../model/spiffe-id.ts";
import { parseCertificate } from "./certificate.ts";
import { createCsr, createClusterKey } from "./csr.ts";
import { issueSvid } from "./svid.ts";

const NOW = Date.UTC(2026, 10, 1, 12);
const federation = createTestFederation("demo.mesh", ["east", "west"], NOW);
const east = federation.cluster("east");
const cart = federation.credential("east", "shop", "cart");
const forged = federation.credential("west", "shop", "web", { signedBy: east.ca });

const directory = mkdtempSync(join(tmpdir(), "isthmus-x509-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const hasOpenssl = spawnSync("openssl", ["version"]).status === 0;

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

function opensslVerify(chainPem: string, { of = federation, purpose = "sslclient" } = {}): string {
  const files = [
    ...["-CAfile", file("root.pem", of.rootPem)],
    ...["-untrusted", file("ca.pem", of.cluster("east").ca.certificatePem), file("leaf.pem", chainPem)],
  ];
  const at = String(Math.floor(of.now / 1000));
  const options = ["verify", "-x509_strict", "-purpose", purpose, "-attime", at];
  const run = spawnSync("openssl", [...options, ...files], { encoding: "utf8" });
  return run.status === 0 ? "accepted" : run.stdout + run.stderr;
}

describe.skipIf(!hasOpenssl)("openssl verify -x509_strict", () => {
  it.each(["sslclient", "sslserver"])("accepts an SVID as %s", (purpose) => {
    expect(opensslVerify(cart.chainPem, { purpose })).toBe("accepted");
  });

  it("accepts an SVID with DNS names", () => {
    const { ca } = east;
    const spiffeId = workloadSpiffeId(east.trustDomain, "shop", "cart");
    const named = issueSvid({ ca, spiffeId, now: NOW, dnsSans: ["cart.shop.svc"] });
    expect(opensslVerify(named.chainPem)).toBe("accepted");
    expect(new X509Certificate(named.chainPem).subjectAltName).toContain("DNS:cart.shop.svc");
  });

  it("refuses a leaf of another trust domain by the CA's name constraint", () => {
    expect(opensslVerify(forged.chainPem)).toContain("permitted subtree violation");
  });

  it("refuses a CA below a cluster's CA by its path length", () => {
    const below = createTestCa({ trustDomain: east.trustDomain, now: NOW, parent: east.ca });
    const leaf = mintCredential(below, cart.spiffeId, NOW);
    const both = below.certificatePem + east.ca.certificatePem;
    expect(
      opensslVerify(leaf.chainPem, {
        of: { ...federation, cluster: () => ({ ...east, ca: { ...east.ca, certificatePem: both } }) },
      }),
    ).toContain("path length constraint exceeded");
  });

  it("accepts what it issues in a year past 2049", () => {
    const of = createTestFederation("later.mesh", ["east"], Date.UTC(2051, 0, 1));
    expect(opensslVerify(of.credential("east", "shop", "cart").chainPem, { of })).toBe("accepted");
  });

  it("verifies a request's own signature", () => {
    const pem = createCsr({ privateKey: createClusterKey(), trustDomain: east.trustDomain });
    const text = execFileSync("openssl", ["req", "-verify", "-text", "-noout", "-in", file("csr.pem", pem)], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(text).toContain("URI:spiffe://east.demo.mesh");
  });
});

describe("@peculiar/x509", () => {
  it("builds the chain from leaf to root and verifies each signature", async () => {
    const [leaf, ca, root] = [cart.chainDer[0]!, east.ca.certificateDer, federation.root.certificateDer].map(
      (der) => new x509.X509Certificate(Uint8Array.from(der)),
    );
    const chain = await new x509.X509ChainBuilder({ certificates: [ca!, root!] }).build(leaf!);
    expect(chain.map((certificate) => certificate.subject)).toEqual([
      "",
      "O=Isthmus, CN=east.demo.mesh",
      "O=Isthmus, CN=demo.mesh root",
    ]);
    expect(await leaf!.verify({ publicKey: ca!, date: new Date(NOW) })).toBe(true);
    expect(await ca!.verify({ publicKey: root!, date: new Date(NOW) })).toBe(true);
    expect(await root!.verify({ publicKey: root!, date: new Date(NOW) })).toBe(true);
  });

  it("reads the profile of a cluster's CA", () => {
    const ca = new x509.X509Certificate(Uint8Array.from(east.ca.certificateDer));
    const basic = ca.getExtension(x509.BasicConstraintsExtension);
    expect(basic).toMatchObject({ ca: true, pathLength: 0, critical: true });
    const usage = ca.getExtension(x509.KeyUsagesExtension);
    expect(usage).toMatchObject({ critical: true });
    expect(usage!.usages).toBe(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign);
    const names = ca.getExtension(x509.SubjectAlternativeNameExtension);
    expect(names!.names.toJSON()).toEqual([{ type: "url", value: "spiffe://east.demo.mesh" }]);
    expect(ca.getExtension("2.5.29.30")).toMatchObject({ critical: true });
  });

  it("reads the profile of an SVID", () => {
    const leaf = new x509.X509Certificate(Uint8Array.from(cart.chainDer[0]!));
    expect(leaf.getExtension(x509.BasicConstraintsExtension)).toMatchObject({ ca: false });
    expect(leaf.getExtension(x509.KeyUsagesExtension)!.usages).toBe(x509.KeyUsageFlags.digitalSignature);
    expect(leaf.getExtension(x509.ExtendedKeyUsageExtension)!.usages).toEqual([
      "1.3.6.1.5.5.7.3.1",
      "1.3.6.1.5.5.7.3.2",
    ]);
    const names = leaf.getExtension(x509.SubjectAlternativeNameExtension)!;
    expect(names).toMatchObject({ critical: true });
    expect(names.names.toJSON()).toEqual([{ type: "url", value: "spiffe://east.demo.mesh/ns/shop/sa/cart" }]);
  });

  it("verifies a request's own signature", async () => {
    const pem = createCsr({ privateKey: createClusterKey(), trustDomain: east.trustDomain });
    expect(await new x509.Pkcs10CertificateRequest(pem).verify()).toBe(true);
  });
});

describe("node:crypto", () => {
  it("agrees about issuer, key and dates", () => {
    const leaf = new X509Certificate(cart.chainDer[0]!);
    const ca = new X509Certificate(east.ca.certificateDer);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(createPublicKey(east.ca.privateKey))).toBe(true);
    expect(leaf.checkPrivateKey(cart.privateKey)).toBe(true);
    expect(leaf.validFromDate.getTime()).toBe(cart.notBeforeMs);
    expect(leaf.validToDate.getTime()).toBe(cart.notAfterMs);
  });
});

describe("an issued certificate", () => {
  it("begins a minute ago, so that a clock that is a little behind accepts it", () => {
    expect(cart.notBeforeMs).toBe(NOW - 60_000);
  });

  it("has a positive serial number of at most 20 bytes, another one each time", () => {
    const serials = Array.from({ length: 50 }, () => {
      const leaf = federation.credential("east", "shop", "cart").chainDer[0]!;
      return new X509Certificate(leaf).serialNumber;
    });
    expect(new Set(serials).size).toBe(50);
    for (const serial of serials) expect(serial).toMatch(/^[4-7][0-9A-F]{39}$/);
  });

  it("is read by our own reader with all that was put in", () => {
    const leaf = unwrap(parseCertificate(cart.chainDer[0]!));
    expect(leaf).toMatchObject({
      isCa: false,
      keyUsage: 1,
      keyUsageCritical: true,
      extendedKeyUsage: ["serverAuth", "clientAuth"],
      names: { uris: ["spiffe://east.demo.mesh/ns/shop/sa/cart"], critical: true },
      nameConstraints: undefined,
    });
    const ca = unwrap(parseCertificate(east.ca.certificateDer));
    expect(ca).toMatchObject({
      isCa: true,
      pathLength: 0,
      nameConstraints: { permittedUris: ["east.demo.mesh"], excludedUris: [] },
    });
  });

  it("carries a trust domain that is too long for a common name", () => {
    const long = `${"a".repeat(60)}.${"b".repeat(60)}`;
    const big = createTestFederation(long, ["c".repeat(63)], NOW);
    const ca = new X509Certificate(big.cluster("c".repeat(63)).ca.certificateDer);
    const commonName = /CN=(.*)/.exec(ca.subject)?.[1] ?? "";
    expect(commonName.length).toBe(64);
    expect(ca.subjectAltName).toBe(`URI:spiffe://${"c".repeat(63)}.${long}`);
  });
});
