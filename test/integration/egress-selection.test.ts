import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EgressPolicySpec, snapshotPolicy } from "../../federation/model/egress-policy.ts";
import { BATCH, type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { createOutsideCa } from "../fakes/outside-pki.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

const STRANGER = "ns/bank/sa/web";
const LOOPBACK = "127.0.0.1/32";

describe.each([
  ["without agents", false],
  ["through agents", true],
])("which policy holds for a caller, %s", (_what, agents) => {
  let scene: EgressScene;
  let plain: OutsideServer;
  let mutual: OutsideServer;
  const clients = createOutsideCa("clients");
  const NAMES = ["gold", "silver"];

  beforeAll(async () => {
    scene = await startEgress({
      agents,
      policies: [],
      callers: [
        { namespace: "shop", name: "web" },
        { namespace: "shop", name: "batch" },
        { namespace: "bank", name: "web" },
      ],
    });
    plain = await startOutsideServer({});
    mutual = await startOutsideServer({
      tls: { ...scene.ca.issue({ dns: ["mutual.example.com"] }), clientCaPem: clients.certificatePem },
    });
    for (const name of NAMES) scene.secrets.set(name, clients.issue({ commonName: name }));
    for (const name of ["plain", "mutual"]) scene.dns.answer(`${name}.example.com`, ["127.0.0.1"]);
  });
  afterAll(async () => {
    await scene.stop();
    await Promise.all([plain.stop(), mutual.stop()]);
  });

  /** As the registry compiles them for the members. */
  const apply = (...policies: readonly (readonly [name: string, spec: EgressPolicySpec])[]): void =>
    scene.apply(...policies.map(([name, spec]) => snapshotPolicy({ metadata: { name }, spec })));
  const toPlain = (from: EgressPolicySpec["from"]): EgressPolicySpec => ({
    mode: "enforce",
    from,
    to: [{ hostname: "plain.example.com", cidr: LOOPBACK, ports: [plain.port], protocol: "http" }],
  });
  /** Everybody may ask the proxy for something, so that a refusal is one of the destination. */
  const proxyForAll: EgressPolicySpec = {
    mode: "enforce",
    from: [{ cluster: "west" }],
    to: [{ hostname: "elsewhere.example.com" }],
  };
  const ask = async (workload: string): Promise<string> => {
    const client = await scene.dial(workload, "proxy");
    const authority = `plain.example.com:${plain.port}`;
    client.send(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    return /ISTH-\d+|^HTTP\/1.1 200/.exec(await client.receives(/hello|ISTH-\d+/))?.[0] ?? "";
  };

  it("lets in all workloads of a namespace that the policy names, and nobody of another one", async () => {
    apply(["namespace", toPlain([{ namespace: "shop" }])], ["all", proxyForAll]);
    expect(await ask(WEB)).toBe("HTTP/1.1 200");
    expect(await ask(BATCH)).toBe("HTTP/1.1 200");
    expect(await ask(STRANGER)).toBe("ISTH-2201");
    expect(scene.denials().at(-1)).toMatchObject({
      caller: expect.stringContaining("/ns/bank/sa/web") as string,
      code: "ISTH-2201",
    });
    apply(["namespace", toPlain([{ namespace: "bank" }])], ["all", proxyForAll]);
    expect(await ask(STRANGER)).toBe("HTTP/1.1 200");
    expect(await ask(WEB)).toBe("ISTH-2201");
  });

  it("lets in every workload of a cluster that the policy names", async () => {
    apply(["cluster", toPlain([{ cluster: "west" }])]);
    for (const workload of [WEB, BATCH, STRANGER]) expect(await ask(workload)).toBe("HTTP/1.1 200");
  });

  const withCertificate = (name: string, priority: number | undefined): EgressPolicySpec => ({
    mode: "enforce",
    ...(priority === undefined ? {} : { priority }),
    from: [{ workload: WEB }],
    to: [{ hostname: "mutual.example.com", cidr: LOOPBACK, ports: [mutual.port] }],
    tls: {
      mode: "mutual",
      validation: { caCertificateRefs: [{ name: "outside-ca" }] },
      clientCertificateRef: { name },
    },
  });
  const shown = async (): Promise<string | undefined> => {
    const client = await scene.dial(WEB, `mutual.example.com:${mutual.port}`);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return /hello (\w+)/.exec(await client.receives(/hello \w+/))?.[1];
  };

  it.each([
    ["the higher priority, though its name comes second", undefined, 1, "silver"],
    ["the higher of two priorities", 7, 3, "gold"],
    ["a priority of its own before a negative one", -1, undefined, "silver"],
    ["the name that comes first where priorities are equal", 5, 5, "gold"],
  ])("lets %s win", async (_why, gold, silver, winner) => {
    apply(["a-gold", withCertificate("gold", gold)], ["b-silver", withCertificate("silver", silver)]);
    expect(await shown()).toBe(winner);
    apply(["b-silver", withCertificate("silver", silver)], ["a-gold", withCertificate("gold", gold)]);
    expect(await shown()).toBe(winner);
  });
});
