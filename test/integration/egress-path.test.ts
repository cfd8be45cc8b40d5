import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import { BATCH, type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { createOutsideCa } from "../fakes/outside-pki.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

const LOOPBACK = "127.0.0.1/32";

describe.each([
  ["without agents", false],
  ["through agents", true],
])("the way out, %s", (_what, agents) => {
  let scene: EgressScene;
  let plain: OutsideServer;
  let secure: OutsideServer;
  let mutual: OutsideServer;
  const clients = createOutsideCa("clients");

  const policies = (): readonly SnapshotEgressPolicy[] => [
    {
      name: "plain",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname: "plain.example.com", cidr: LOOPBACK, ports: [plain.port], protocol: "http" }],
    },
    {
      name: "secure",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [
        {
          hostname: "secure.example.com",
          cidr: LOOPBACK,
          ports: [secure.port],
          http: { methods: ["GET", "POST"] },
        },
      ],
      tls: { mode: "originate", validation: { caCertificateRefs: [{ name: "outside-ca" }] } },
    },
    {
      name: "mutual",
      mode: "enforce",
      from: ["ns/shop/sa/*"],
      to: [],
      external: [{ hostname: "mutual.example.com", cidr: LOOPBACK, ports: [mutual.port] }],
      tls: {
        mode: "mutual",
        validation: { caCertificateRefs: [{ name: "outside-ca" }] },
        clientCertificates: [
          { workload: WEB, clientCertificateRef: { name: "web-client" } },
          { workload: BATCH, clientCertificateRef: { name: "batch-client" } },
        ],
      },
    },
    {
      name: "pass",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname: "*.pass.example.com", cidr: LOOPBACK, ports: [secure.port, 443] }],
      tls: { mode: "passthrough" },
    },
  ];

  beforeAll(async () => {
    scene = await startEgress({ agents, policies: [] });
    plain = await startOutsideServer({});
    const names = ["secure.example.com", "a.pass.example.com"];
    secure = await startOutsideServer({ tls: scene.ca.issue({ dns: names }) });
    mutual = await startOutsideServer({
      tls: { ...scene.ca.issue({ dns: ["mutual.example.com"] }), clientCaPem: clients.certificatePem },
    });
    scene.secrets.set("web-client", clients.issue({ commonName: "web of west" }));
    scene.secrets.set("batch-client", clients.issue({ commonName: "batch of west" }));
    for (const name of ["plain", "secure", "mutual", "a.pass"])
      scene.dns.answer(`${name}.example.com`, ["127.0.0.1"]);
    scene.apply(...policies());
  });
  afterAll(async () => {
    await scene.stop();
    await Promise.all([plain.stop(), secure.stop(), mutual.stop()]);
  });

  const get = async (workload: string, name: string, head: string) => {
    const client = await scene.dial(workload, name);
    client.send(head);
    const text = await client.receives(/\r\n\r\n[^]*(hello|ISTH)/);
    return text;
  };

  it("reaches a host at its local address, whose Host becomes the host's name", async () => {
    const text = await get(
      WEB,
      `plain.example.com:${plain.port}`,
      "GET /x HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
    );
    expect(text).toMatch(/^HTTP\/1.1 200/);
    expect(plain.seen.at(-1)).toMatchObject({
      method: "GET",
      url: "/x",
      host: `plain.example.com:${plain.port}`,
    });
  });

  it("originates TLS with the host's own name, verified against the given CA", async () => {
    const text = await get(
      WEB,
      `secure.example.com:${secure.port}`,
      `GET / HTTP/1.1\r\nHost: secure.example.com:${secure.port}\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1.1 200/);
    expect(secure.seen.at(-1)).toMatchObject({ sni: "secure.example.com" });
  });

  it("shows each caller's own certificate", async () => {
    const head = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    expect(await get(WEB, `mutual.example.com:${mutual.port}`, head)).toContain("hello web of west");
    expect(await get(BATCH, `mutual.example.com:${mutual.port}`, head)).toContain("hello batch of west");
  });

  it("refuses a method that no rule gives", async () => {
    const text = await get(
      WEB,
      `secure.example.com:${secure.port}`,
      "DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    expect(text).toMatch(/^HTTP\/1.1 403[^]*ISTH-2202/);
  });

  it("judges a request that comes again and again on one connection by the rules of the moment", async () => {
    const client = await scene.dial(WEB, `secure.example.com:${secure.port}`);
    const ask = async (times: number): Promise<string[]> => {
      const codes: string[] = [];
      for (let count = 0; count < times; count++) {
        client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
        const answer = await client.receives(/\r\n\r\n[^]*(hello|ISTH-\d+)/);
        codes.push(/ISTH-\d+/.exec(answer)?.[0] ?? "ok");
        client.forget();
      }
      return codes;
    };
    const secured = (change: object) =>
      scene.apply(
        ...policies().map((policy) => (policy.name === "secure" ? { ...policy, ...change } : policy)),
      );
    expect(await ask(4)).toEqual(["ok", "ok", "ok", "ok"]);
    const host = { hostname: "secure.example.com", cidr: LOOPBACK, ports: [secure.port] };
    secured({ external: [{ ...host, http: { methods: ["POST"] } }] });
    expect(await ask(2)).toEqual(["ISTH-2202", "ISTH-2202"]);
    secured({ rateLimit: { requests: 3, interval: "1m" } });
    expect(await ask(4)).toEqual(["ok", "ok", "ok", "ISTH-2208"]);
    scene.apply(...policies());
    expect(await ask(1)).toEqual(["ok"]);
    client.destroy();
  });

  it("takes absolute-form at the proxy", async () => {
    const url = `http://plain.example.com:${plain.port}/y?q=1`;
    const text = await get(
      WEB,
      "proxy",
      `GET ${url} HTTP/1.1\r\nHost: plain.example.com:${plain.port}\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1.1 200/);
    expect(plain.seen.at(-1)).toMatchObject({ url: "/y?q=1" });
  });

  it("refuses at the proxy what another workload may do", async () => {
    const url = `http://plain.example.com:${plain.port}/y`;
    const text = await get(
      BATCH,
      "proxy",
      `GET ${url} HTTP/1.1\r\nHost: plain.example.com:${plain.port}\r\n\r\n`,
    );
    expect(text).toMatch(/^HTTP\/1.1 403[^]*ISTH-2201/);
    expect(scene.denials().at(-1)).toMatchObject({
      caller: expect.stringContaining("/sa/batch") as string,
      code: "ISTH-2201",
    });
  });

  it("connects through the proxy to a host whose gateway originates TLS", async () => {
    const authority = `secure.example.com:${secure.port}`;
    const client = await scene.dial(WEB, "proxy");
    client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await client.receives("200 Connection established");
    client.forget();
    client.send(`GET /in HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    await client.receives("hello");
    expect(secure.seen.at(-1)).toMatchObject({ url: "/in" });
  });
});
