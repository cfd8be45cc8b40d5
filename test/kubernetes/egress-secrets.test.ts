import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createLogger } from "../../federation/model/log.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import { joinSecrets, SecretStore } from "../../gateway/discovery/index.ts";
import { createOutsideCa, type Pair } from "../fakes/outside-pki.ts";
import { BATCH, startEgress, WEB } from "../fakes/egress-scene.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { clientAs, type KubeApi, startKubeApi } from "../fakes/kube-world.ts";
import { requestOnce, startLoad, tally } from "../fakes/load.ts";
import { startOutsideServer } from "../fakes/outside-server.ts";
import { until } from "../fakes/until.ts";
import { clear } from "./made.ts";
import { namespace } from "./objects.ts";
import type { KubeClient } from "../../agents/kubernetes/api/client.ts";
import { NAMESPACES, SECRETS } from "../../agents/kubernetes/api/resource-type.ts";
import { EGRESS_NAMESPACE, followSecrets, type KubernetesSecrets } from "../../agents/kubernetes/secrets.ts";

const ca = createOutsideCa("clients");

describe("secrets of the API server", () => {
  let api: KubeApi;
  let client: KubeClient;
  let secrets: KubernetesSecrets;
  let lines: string[];
  const log = createLogger((line) => void lines.push(line), Date.now);

  beforeAll(async () => {
    api = await startKubeApi();
    for (const name of [EGRESS_NAMESPACE, "shop"]) await api.put(NAMESPACES, namespace(name));
    client = await clientAs(api, "gateway");
  }, 120_000);
  afterAll(async () => {
    client?.close();
    await api?.close();
  });

  beforeEach(() => {
    lines = [];
    secrets = followSecrets({ client, clock: systemClock, random: systemRandom, log });
  });
  afterEach(async () => {
    secrets.stop();
    await clear(api, EGRESS_NAMESPACE, [SECRETS]);
  });

  const encoded = (text: string) => Buffer.from(text).toString("base64");
  const put = (name: string, data: Readonly<Record<string, string>>, namespace = EGRESS_NAMESPACE) =>
    api.put(SECRETS, {
      apiVersion: "v1",
      kind: "Secret",
      // An API server takes no pair without both of its parts.
      type: "tls.key" in data ? "kubernetes.io/tls" : "Opaque",
      metadata: { namespace, name },
      data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, encoded(text)])),
    });
  const pairOf = ({ certificatePem, privateKeyPem }: Pair) => ({
    "tls.crt": certificatePem,
    "tls.key": privateKeyPem,
  });
  const hasCertificate = (name: string, { certificatePem }: Pair) =>
    until(`the certificate of ${name}`, 2_000, () =>
      secrets.get(name)?.certificatePem === certificatePem ? true : undefined,
    );

  it("are followed by watch, and whoever uses them is told", async () => {
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    await put("batch-client", pairOf(one));
    await put("partner-ca", { "ca.crt": ca.certificatePem });
    await hasCertificate("batch-client", one);
    await until("the CA", 2_000, () => secrets.get("partner-ca")?.authoritiesPem);
    const told: string[] = [];
    secrets.subscribe((name) => told.push(name));
    await put("batch-client", pairOf(two));
    await hasCertificate("batch-client", two);
    expect(told).toEqual(["batch-client"]);
  });

  it("keep their last good pair when they are spoiled or deleted, and the log says which, never what", async () => {
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    await put("pair", pairOf(one));
    await hasCertificate("pair", one);
    await put("pair", { "tls.crt": two.certificatePem, "tls.key": one.privateKeyPem });
    const refused = () => lines.filter((line) => line.includes("secret_refused"));
    await until("the log says so", 2_000, () => (refused().length > 0 ? true : undefined));
    expect(JSON.parse(refused()[0] ?? "")).toMatchObject({
      code: "ISTH-3408",
      namespace: EGRESS_NAMESPACE,
      secret: "pair",
      detail: "tls.key does not belong to tls.crt",
      lastGoodStays: true,
    });
    await api.remove(SECRETS, EGRESS_NAMESPACE, "pair");
    await put("later", pairOf(two));
    await hasCertificate("later", two);
    expect(secrets.get("pair")).toMatchObject(one);
    const keys = [one, two].map(({ privateKeyPem }) => privateKeyPem.split("\n")[1] ?? "");
    for (const line of lines) for (const key of keys) expect(line).not.toContain(key);
  });

  it("are those of their own namespace, and of those the ones that hold certificates", async () => {
    const one = ca.issue({ commonName: "one" });
    await put("elsewhere", pairOf(one), "shop");
    await put("password", { password: "open sesame" });
    await put("pair", pairOf(one));
    await hasCertificate("pair", one);
    expect(secrets.get("elsewhere")).toBeUndefined();
    expect(secrets.get("password")).toBeUndefined();
    expect(lines.join("\n")).not.toContain("sesame");
  });

  it("stand behind files of the same name, and are a new version when those come", async () => {
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    await put("pair", pairOf(one));
    await hasCertificate("pair", one);
    const files = new SecretStore(log, {});
    const both = joinSecrets(files, secrets);
    const first = both.get("pair");
    expect(first).toMatchObject(one);
    expect(both.get("pair")).toBe(first);
    files.take("pair", pairOf(two));
    expect(both.get("pair")).toMatchObject(two);
    expect(both.get("pair")?.version).not.toBe(first?.version);
  });

  it("are what the far server sees, per caller, and replaced under load without a failed request", async () => {
    const scene = await startEgress({ agents: false, policies: [], secretSource: secrets });
    const far = await startOutsideServer({
      tls: { ...scene.ca.issue({ dns: ["mutual.example.com"] }), clientCaPem: ca.certificatePem },
    });
    try {
      scene.dns.answer("mutual.example.com", ["127.0.0.1"]);
      await put("outside-ca", { "ca.crt": scene.ca.certificatePem });
      await put("web-client", pairOf(ca.issue({ commonName: "web 1" })));
      await put("batch-client", pairOf(ca.issue({ commonName: "batch 1" })));
      await until("all are there", 2_000, () => secrets.get("batch-client"));
      const client = (workload: string, name: string) => ({ workload, clientCertificateRef: { name } });
      scene.apply({
        name: "mutual",
        mode: "enforce",
        from: ["ns/shop/sa/*"],
        to: [],
        external: [{ hostname: "mutual.example.com", cidr: "127.0.0.1/32", ports: [far.port] }],
        tls: {
          mode: "mutual",
          validation: { caCertificateRefs: [{ name: "outside-ca" }] },
          clientCertificates: [client(WEB, "web-client"), client(BATCH, "batch-client")],
        },
      });
      const address = async (workload: string) =>
        addressOf(await scene.way(workload, `mutual.example.com:${far.port}`));
      const shown = async (workload: string) => {
        const answer = await requestOnce(await address(workload), { host: "localhost" });
        return typeof answer === "string" ? answer : answer.body;
      };
      expect(await shown(WEB)).toBe("hello web 1");
      expect(await shown(BATCH)).toBe("hello batch 1");

      const load = startLoad(await address(WEB), 8, "/", "localhost");
      await until("the load runs", 2_000, () => (load.report().ok > 20 ? true : undefined));
      await put("web-client", pairOf(ca.issue({ commonName: "web 2" })));
      await until("the new one is shown", 2_000, async () =>
        (await shown(WEB)) === "hello web 2" ? true : undefined,
      );
      const { failed } = await load.stop();
      expect(tally(failed)).toEqual({});
      expect(await shown(BATCH)).toBe("hello batch 1");
    } finally {
      await scene.stop();
      await far.stop();
    }
  });
});
