import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createLogger } from "../../federation/model/log.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import { joinSecrets, SecretStore } from "../../gateway/discovery/index.ts";
import { type FakeKubeApi, startFakeKubeApi } from "../fakes/kube-api/server.ts";
import { createOutsideCa, type Pair } from "../fakes/outside-pki.ts";
import { BATCH, startEgress, WEB } from "../fakes/egress-scene.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { requestOnce, startLoad, tally } from "../fakes/load.ts";
import { startOutsideServer } from "../fakes/outside-server.ts";
import { until } from "../fakes/until.ts";
import { namespace } from "./objects.ts";
import { createKubeClient } from "../../agents/kubernetes/api/client.ts";
import { EGRESS_NAMESPACE, followSecrets, type KubernetesSecrets } from "../../agents/kubernetes/secrets.ts";

const ca = createOutsideCa("clients");

describe("secrets of the API server", () => {
  let api: FakeKubeApi;
  let secrets: KubernetesSecrets;
  let lines: string[];
  const log = createLogger((line) => void lines.push(line), Date.now);

  beforeEach(async () => {
    lines = [];
    api = await startFakeKubeApi();
    for (const name of [EGRESS_NAMESPACE, "shop"]) api.put("namespaces", namespace(name));
    const client = createKubeClient({ url: new URL(api.url), token: () => undefined });
    secrets = followSecrets({ client, clock: systemClock, random: systemRandom, log });
  });
  afterEach(async () => {
    secrets.stop();
    await api.close();
  });

  const encoded = (text: string) => Buffer.from(text).toString("base64");
  const put = (name: string, data: Readonly<Record<string, string>>, namespace = EGRESS_NAMESPACE) =>
    api.put("secrets", {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/tls",
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
    put("batch-client", pairOf(one));
    put("partner-ca", { "ca.crt": ca.certificatePem });
    await hasCertificate("batch-client", one);
    await until("the CA", 2_000, () => secrets.get("partner-ca")?.authoritiesPem);
    const told: string[] = [];
    secrets.subscribe((name) => told.push(name));
    put("batch-client", pairOf(two));
    await hasCertificate("batch-client", two);
    expect(told).toEqual(["batch-client"]);
  });

  it("keep their last good pair when they are spoiled or deleted, and the log says which, never what", async () => {
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    put("pair", pairOf(one));
    await hasCertificate("pair", one);
    put("pair", { "tls.crt": two.certificatePem, "tls.key": one.privateKeyPem });
    const refused = () => lines.filter((line) => line.includes("secret_refused"));
    await until("the log says so", 2_000, () => (refused().length > 0 ? true : undefined));
    expect(JSON.parse(refused()[0] ?? "")).toMatchObject({
      code: "ISTH-3408",
      namespace: EGRESS_NAMESPACE,
      secret: "pair",
      detail: "tls.key does not belong to tls.crt",
      lastGoodStays: true,
    });
    api.remove("secrets", `${EGRESS_NAMESPACE}/pair`);
    put("later", pairOf(two));
    await hasCertificate("later", two);
    expect(secrets.get("pair")).toMatchObject(one);
    const keys = [one, two].map(({ privateKeyPem }) => privateKeyPem.split("\n")[1] ?? "");
    for (const line of lines) for (const key of keys) expect(line).not.toContain(key);
  });

  it("are those of their own namespace, and of those the ones that hold certificates", async () => {
    const one = ca.issue({ commonName: "one" });
    put("elsewhere", pairOf(one), "shop");
    put("password", { password: "open sesame" });
    put("pair", pairOf(one));
    await hasCertificate("pair", one);
    expect(secrets.get("elsewhere")).toBeUndefined();
    expect(secrets.get("password")).toBeUndefined();
    expect(lines.join("\n")).not.toContain("sesame");
  });

  it("stand behind files of the same name, and are a new version when those come", async () => {
    const [one, two] = [ca.issue({ commonName: "one" }), ca.issue({ commonName: "two" })];
    put("pair", pairOf(one));
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
      put("outside-ca", { "ca.crt": scene.ca.certificatePem });
      put("web-client", pairOf(ca.issue({ commonName: "web 1" })));
      put("batch-client", pairOf(ca.issue({ commonName: "batch 1" })));
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
      put("web-client", pairOf(ca.issue({ commonName: "web 2" })));
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
