import { createPublicKey } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import {
  type CertificateRequestSigner,
  createCertificateRequestSigner,
} from "../../agents/identity/certificate-request-signer.ts";
import { CERTIFICATE_REQUESTS } from "../../agents/kubernetes/api/resource-type.ts";
import { type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import {
  type ClusterCaCertificate,
  createClusterKey,
  createSvidCsr,
  decodePem,
  issueClusterCa,
  loadClusterCaCertificate,
  verifyChain,
} from "../../federation/trust/index.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import {
  type CaFiles,
  type CertificateIssuer,
  type IssuerMood,
  makeCaRequest,
  startCertificateIssuer,
} from "../fakes/certificate-issuer.ts";
import { type KubeFaults, startKubeFaults } from "../fakes/kube-api/fault-proxy.ts";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import { type KubeApi, startKubeApi, until } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { createTestFederation, type TestFederation, unwrap } from "../fakes/pki.ts";

const SPACE = "isthmus-system";
const HOUR_MS = 3_600_000;
/** Of seconds that would be waited otherwise, one is left: timers run this much faster. */
const HASTE = 20;

let directory: string;
let api: KubeApi;
let faults: KubeFaults;
let client: KubeClient;
let federation: TestFederation;
let trustDomain: TrustDomain;
let ca: ClusterCaCertificate;
let issuer: CertificateIssuer;
let signer: CertificateRequestSigner;
const log = createMemoryLog();
/** Real time for what is judged, less of it for what is waited for. */
const startMs = Date.now();
const clock = {
  now: () => startMs + (Date.now() - startMs) * HASTE,
  after: (ms: number, run: () => void) => systemClock.after(ms / HASTE, run),
};

function certify(files: CaFiles): ClusterCaCertificate {
  const csrPem = readFileSync(files.csr, "utf8");
  const { root } = federation;
  const certificatePem = unwrap(issueClusterCa({ root, csrPem, trustDomain, now: Date.now() }));
  writeFileSync(files.certificate, certificatePem);
  return unwrap(loadClusterCaCertificate(certificatePem));
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "isthmus-certificate-requests-"));
  api = await startKubeApi();
  faults = await startKubeFaults(api.access);
  client = createKubeClient(faults.through(api.access));
  federation = createTestFederation("demo.mesh", ["west"], Date.now());
  ({ trustDomain } = federation.cluster("west"));
  const files = makeCaRequest(directory, "west", trustDomain);
  ca = certify(files);
  issuer = await startCertificateIssuer(api, "isthmus-ca", files);
  signer = createCertificateRequestSigner({
    client,
    issuer: { kind: "Issuer", group: "cert-manager.io", name: "isthmus-ca" },
    member: "gateway-1",
    bundles: federation.index,
    ca: () => ca,
    clock,
    random: Math.random,
    log,
  });
}, 30_000);

afterEach(() => {
  issuer.mood = "well";
});

afterAll(async () => {
  signer?.stop();
  issuer?.stop();
  client?.close();
  await faults?.close();
  await api?.close();
  rmSync(directory, { recursive: true, force: true });
});

async function ask(name = "web") {
  const spiffeId = workloadSpiffeId(trustDomain, "shop", name);
  const privateKey = createClusterKey();
  const publicKey = createPublicKey(privateKey);
  const csrPem = createSvidCsr({ privateKey, spiffeId });
  return signer.sign({ csrPem, publicKey, spiffeId, lifetimeMs: HOUR_MS });
}

const leftOver = () => api.list(CERTIFICATE_REQUESTS, SPACE);
const noneLeft = () =>
  until("no request is left", 5_000, async () => ((await leftOver()).length === 0 ? true : undefined));

describe("identities by CertificateRequest", () => {
  it("gets what it asked for, below the cluster's CA, and takes its request away", async () => {
    const chain = decodePem("CERTIFICATE", unwrap(await ask())) ?? [];
    const verified = unwrap(verifyChain(chain, federation.index, Date.now()));
    expect(verified.spiffeId.uri).toBe("spiffe://west.demo.mesh/ns/shop/sa/web");
    expect(chain[1]).toEqual(ca.certificateDer);
    await noneLeft();
  });

  const moods: readonly (readonly [IssuerMood, string, RegExp])[] = [
    ["denies", "ca_issuer_refused", /Issuer isthmus-ca: Denied: PolicyDenied: no policy allows it/],
    ["fails", "ca_issuer_refused", /Failed: the vault is sealed/],
    ["silent", "ca_issuer_silent", /after 12000 ms: nobody has approved it/],
    ["other name", "ca_certificate_unusable", /got spiffe:.*somebody-else \(ISTH-1072\)/],
    ["two names", "ca_certificate_unusable", /2 URI SANs/],
    ["lives for months", "ca_certificate_unusable", /24 at most/],
    ["clients only", "ca_certificate_unusable", /without both server and client/],
    ["is a CA", "ca_certificate_unusable", /is a CA/],
    ["foreign CA", "ca_certificate_unusable", /ISTH-1002/],
  ];
  it.each(moods)("names what is wrong when the issuer %s, and leaves nothing", async (mood, name, detail) => {
    issuer.mood = mood;
    const answer = await ask();
    expect(answer).toMatchObject({ ok: false, error: { name } });
    expect(answer.ok ? "" : answer.error.detail).toMatch(detail);
    await noneLeft();
    issuer.mood = "well";
    expect((await ask()).ok).toBe(true);
  });

  it.each([
    ["create", "kube_forbidden", /create certificaterequests/],
    ["get", "kube_forbidden", /get certificaterequests/],
  ])("names the verb where its role lacks %s", async (verb, name, detail) => {
    const again = faults.refuse(
      (asked) => asked.resource === "certificaterequests" && asked.verb === verb,
      403,
      `cannot ${verb} resource "certificaterequests"`,
    );
    const answer = await ask();
    expect(answer).toMatchObject({ ok: false, error: { name } });
    expect(answer.ok ? "" : answer.error.detail).toMatch(detail);
    again();
    await noneLeft();
  });

  it("issues without the right to delete, and says that requests stay", async () => {
    const again = faults.refuse(({ verb }) => verb === "delete", 403, 'cannot delete "certificaterequests"');
    expect((await ask()).ok).toBe(true);
    await until("it says so", 5_000, () =>
      log.of("certificate_requests_stay").length > 0 ? true : undefined,
    );
    expect(log.of("certificate_requests_stay")).toMatchObject([{ code: "ISTH-6503" }]);
    again();
    for (const { metadata } of await leftOver()) await api.remove(CERTIFICATE_REQUESTS, SPACE, metadata.name);
  });

  it("lets the API server be away for a moment while it waits", async () => {
    const again = faults.refuse(
      ({ resource, verb }) => resource === "certificaterequests" && verb === "get",
      503,
      "away",
    );
    const answer = ask();
    await until("it has asked in vain", 5_000, () =>
      faults.asked.filter(({ verb }) => verb === "get").length > 2 ? true : undefined,
    );
    again();
    expect((await answer).ok).toBe(true);
  });

  it("says so while the issuer signs with an earlier CA than the one that is certified now", async () => {
    const before = ca;
    const next = makeCaRequest(directory, "next", trustDomain);
    ca = certify(next);
    for (const name of ["web", "cart"]) {
      const chain = decodePem("CERTIFICATE", unwrap(await ask(name))) ?? [];
      expect(chain[1]).toEqual(before.certificateDer);
    }
    expect(log.of("ca_issuer_outdated")).toHaveLength(1);
    await issuer.use(next);
    const chain = decodePem("CERTIFICATE", unwrap(await ask())) ?? [];
    expect(chain[1]).toEqual(ca.certificateDer);
    expect(log.of("ca_issuer_outdated")).toHaveLength(1);
  });

  it("takes away what a crash left behind, and nothing that is new or somebody else's", async () => {
    const labels = { "isthmus.dev/managed-by": "isthmus" };
    const spec = { issuerRef: { name: "elsewhere" }, request: "" };
    for (const [name, made] of [
      ["ours", labels],
      ["foreign", {}],
    ] as const)
      await api.put(CERTIFICATE_REQUESTS, { metadata: { namespace: SPACE, name, labels: made }, spec });
    const skew = { ahead: 0 };
    const later = { ...clock, now: () => Date.now() + skew.ahead };
    const sweepAt = async (ahead: number): Promise<readonly string[]> => {
      skew.ahead = ahead;
      const asked = faults.asked.length;
      const one = createCertificateRequestSigner({
        client,
        issuer: { kind: "Issuer", group: "cert-manager.io", name: "isthmus-ca" },
        member: "gateway-2",
        bundles: federation.index,
        ca: () => ca,
        clock: later,
        random: Math.random,
        log,
      });
      await until("it has looked", 5_000, () =>
        faults.asked.slice(asked).some(({ verb }) => verb === "list") ? true : undefined,
      );
      if (ahead > 0)
        await until("it has deleted", 5_000, () =>
          faults.asked.slice(asked).some(({ verb }) => verb === "delete") ? true : undefined,
        );
      one.stop();
      return (await leftOver()).map(({ metadata }) => metadata.name).sort();
    };
    expect(await sweepAt(0)).toEqual(["foreign", "ours"]);
    expect(await sweepAt(HOUR_MS)).toEqual(["foreign"]);
    await api.remove(CERTIFICATE_REQUESTS, SPACE, "foreign");
  });
});
