// Longer than other files: one test for every field of a policy and every way a far server can be wrong.
import { createServer, type Server, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EgressTls, ExternalTarget } from "../../federation/model/egress-policy.ts";
import type { SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import { BATCH, type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { createOutsideCa } from "../fakes/outside-pki.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

const LOOPBACK = "127.0.0.1/32";
const OUTSIDE: NonNullable<EgressTls["validation"]> = { caCertificateRefs: [{ name: "outside-ca" }] };

/** A server that does something else than TLS with every connection. */
async function startRawServer(
  onConnection: (socket: Socket) => void,
): Promise<{ port: number; stop: () => void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    onConnection(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

describe.each([
  ["without agents", false],
  ["through agents", true],
])("what a policy says of the far server, %s", (_what, agents) => {
  let scene: EgressScene;
  const servers: OutsideServer[] = [];
  const raw: { port: number; stop: () => void }[] = [];
  const HOUR = 3_600_000;
  let names = 0;

  beforeAll(async () => {
    scene = await startEgress({ agents, policies: [] });
  });
  afterAll(async () => {
    for (const server of raw) server.stop();
    await scene.stop();
    await Promise.all(servers.map((server) => server.stop()));
  });

  const server = async (options: Parameters<typeof startOutsideServer>[0]): Promise<OutsideServer> => {
    const started = await startOutsideServer(options);
    servers.push(started);
    return started;
  };
  const newName = () => `h${names++}.example.com`;
  /** Puts one policy in force and makes one request of web by its local address. */
  const call = async (
    hostname: string,
    port: number,
    change: Partial<SnapshotEgressPolicy>,
    {
      target = {},
      workload = WEB,
      addresses = ["127.0.0.1"],
    }: { target?: Partial<ExternalTarget>; workload?: string; addresses?: readonly string[] } = {},
  ): Promise<string> => {
    scene.dns.answer(hostname, addresses);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: ["*"],
      to: [],
      external: [{ hostname, cidr: LOOPBACK, ports: [port], protocol: "http", ...target }],
      ...change,
    });
    return request(hostname, port, workload);
  };
  const request = async (hostname: string, port: number, workload = WEB): Promise<string> => {
    const client = await scene.dial(workload, `${hostname}:${port}`);
    client.send(`GET / HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: close\r\n\r\n`);
    const text = await client.receives(/hello|ISTH-\d+/);
    return /ISTH-\d+/.exec(text)?.[0] ?? text.slice(9, 12);
  };
  const originate = (validation = OUTSIDE, more: Partial<EgressTls> = {}): { tls: EgressTls } => ({
    tls: { mode: "originate", validation, ...more },
  });

  it("the certificate is of another name: ISTH-3403", async () => {
    const { port } = await server({ tls: scene.ca.issue({ dns: ["somebody.example.com"] }) });
    expect(await call(newName(), port, originate())).toBe("ISTH-3403");
  });

  it("the certificate has expired, or is not valid yet: ISTH-3404", async () => {
    const hostname = newName();
    const now = Date.now();
    const old = await server({
      tls: scene.ca.issue({ dns: [hostname], notBeforeMs: now - 3 * HOUR, notAfterMs: now - HOUR }),
    });
    expect(await call(hostname, old.port, originate())).toBe("ISTH-3404");
    const young = await server({
      tls: scene.ca.issue({ dns: [hostname], notBeforeMs: now + HOUR, notAfterMs: now + 2 * HOUR }),
    });
    expect(await call(hostname, young.port, originate())).toBe("ISTH-3404");
  });

  it("the certificate is of another CA, or self-signed, or of no CA of the system: ISTH-3405", async () => {
    const hostname = newName();
    const stranger = createOutsideCa("stranger");
    const { port } = await server({ tls: stranger.issue({ dns: [hostname] }) });
    expect(await call(hostname, port, originate())).toBe("ISTH-3405");
    expect(await call(hostname, port, originate({ wellKnownCACertificates: "System" }))).toBe("ISTH-3405");
    const self = await server({ tls: createOutsideCa(hostname) });
    expect(await call(hostname, self.port, originate())).toBe("ISTH-3405");
  });

  it("a pinned name stands instead of the host's own, by DNS or by URI", async () => {
    const pair = scene.ca.issue({ dns: ["pinned.example.com"], uris: ["spiffe://partner.example/api"] });
    const { port } = await server({ tls: pair });
    const pins = (subjectAltNames: NonNullable<EgressTls["validation"]>["subjectAltNames"] & object) =>
      originate({ ...OUTSIDE, subjectAltNames });
    expect(await call(newName(), port, pins([{ type: "Hostname", hostname: "pinned.example.com" }]))).toBe(
      "200",
    );
    expect(await call(newName(), port, pins([{ type: "URI", uri: "spiffe://partner.example/api" }]))).toBe(
      "200",
    );
    expect(await call(newName(), port, pins([{ type: "URI", uri: "spiffe://partner.example/ap" }]))).toBe(
      "ISTH-3403",
    );
    expect(await call(newName(), port, pins([{ type: "Hostname", hostname: "other.example.com" }]))).toBe(
      "ISTH-3403",
    );
  });

  it("another SNI is sent, and is the name that the certificate must have", async () => {
    const far = await server({ tls: scene.ca.issue({ dns: ["front.example.com"] }) });
    expect(await call(newName(), far.port, originate(OUTSIDE, { sni: "front.example.com" }))).toBe("200");
    expect(far.seen.at(-1)?.sni).toBe("front.example.com");
  });

  it("a server below the minimum version is not spoken to: ISTH-3406", async () => {
    const hostname = newName();
    const { port } = await server({ tls: { ...scene.ca.issue({ dns: [hostname] }), maxVersion: "TLSv1.2" } });
    expect(await call(hostname, port, originate(OUTSIDE, { minVersion: "1.3" }))).toBe("ISTH-3406");
    expect(await call(hostname, port, originate())).toBe("200");
  });

  it("a server that wants a certificate which the policy does not show: no answer of it passes", async () => {
    const hostname = newName();
    const clients = createOutsideCa("clients");
    const { port, seen } = await server({
      tls: { ...scene.ca.issue({ dns: [hostname] }), clientCaPem: clients.certificatePem },
    });
    expect(await call(hostname, port, originate())).toMatch(/^ISTH-3/);
    expect(seen).toEqual([]);
  });

  it("a secret that is not there: ISTH-3408", async () => {
    const hostname = newName();
    const { port } = await server({ tls: scene.ca.issue({ dns: [hostname] }) });
    expect(await call(hostname, port, originate({ caCertificateRefs: [{ name: "no-such-ca" }] }))).toBe(
      "ISTH-3408",
    );
    const tls: EgressTls = {
      mode: "mutual",
      validation: OUTSIDE,
      clientCertificateRef: { name: "no-such-pair" },
    };
    expect(await call(hostname, port, { tls })).toBe("ISTH-3408");
  });

  it("a server that closes during the handshake, or speaks something else: ISTH-3406", async () => {
    const closing = await startRawServer((socket) => socket.once("data", () => socket.destroy()));
    const talking = await startRawServer((socket) =>
      socket.once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")),
    );
    raw.push(closing, talking);
    expect(await call(newName(), closing.port, originate())).toBe("ISTH-3406");
    expect(await call(newName(), talking.port, originate())).toBe("ISTH-3406");
  });

  it("a server that never answers the handshake: ISTH-3407 after timeouts.connect", async () => {
    const silent = await startRawServer(() => {});
    raw.push(silent);
    expect(await call(newName(), silent.port, { ...originate(), timeouts: { connect: "300ms" } })).toBe(
      "ISTH-3407",
    );
  });

  it("nobody listens: ISTH-3402; the name does not exist: ISTH-3401", async () => {
    const gone = await startRawServer(() => {});
    gone.stop();
    expect(await call(newName(), gone.port, {})).toBe("ISTH-3402");
    const unknown = newName();
    scene.apply({
      name: "p",
      mode: "enforce",
      from: ["*"],
      to: [],
      external: [{ hostname: unknown, ports: [80], protocol: "http" }],
    });
    expect(await request(unknown, 80)).toBe("ISTH-3401");
  });

  it("an address outside the range that the policy names beside the host: ISTH-2203", async () => {
    const { port } = await server({});
    expect(await call(newName(), port, {}, { target: { cidr: "127.0.0.2/32" } })).toBe("ISTH-2203");
  });

  it("the first of several addresses that answers is used", async () => {
    const { port } = await server({});
    const reached = await call(
      newName(),
      port,
      {},
      { addresses: ["127.0.0.3", "127.0.0.1"], target: { cidr: "127.0.0.0/8" } },
    );
    expect(reached).toBe("200");
  });

  it("no answer within timeouts.request", async () => {
    const { port } = await server({ answer: () => {} });
    expect(await call(newName(), port, { timeouts: { request: "1s" } })).toBe("ISTH-3006");
  });

  it("the rate is each caller's own: ISTH-2208 beyond it", async () => {
    const hostname = newName();
    const { port } = await server({});
    const limited = { rateLimit: { requests: 2, interval: "1m" } };
    expect(await call(hostname, port, limited)).toBe("200");
    expect(await request(hostname, port)).toBe("200");
    expect(await request(hostname, port)).toBe("ISTH-2208");
    // A snapshot that says something else gives nobody a fresh rate.
    scene.mesh.publish((snapshot) => ({ ...snapshot, issuedAt: "2026-01-02T00:00:00Z" }));
    expect(await request(hostname, port)).toBe("ISTH-2208");
    expect(await request(hostname, port, BATCH)).toBe("200");
  });

  it("a wildcard leads to the host that was asked for", async () => {
    const far = await server({ tls: scene.ca.issue({ dns: ["one.wide.example.com"] }) });
    scene.dns.answer("one.wide.example.com", ["127.0.0.1"]);
    scene.dns.answer("two.wide.example.com", ["127.0.0.1"]);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname: "*.wide.example.com", cidr: LOOPBACK, ports: [far.port] }],
      ...originate(),
    });
    const through = async (host: string): Promise<string> => {
      const client = await scene.dial(WEB, "proxy");
      client.send(`CONNECT ${host}:${far.port} HTTP/1.1\r\nHost: ${host}:${far.port}\r\n\r\n`);
      await client.receives("200 Connection");
      client.forget();
      client.send(`GET / HTTP/1.1\r\nHost: ${host}:${far.port}\r\nConnection: close\r\n\r\n`);
      const text = await client.receives(/hello|ISTH-\d+/);
      return /ISTH-\d+/.exec(text)?.[0] ?? "200";
    };
    expect(await through("one.wide.example.com")).toBe("200");
    expect(await through("two.wide.example.com")).toBe("ISTH-3403");
  });

  it("plain bytes pass, whoever speaks first, and end when the policy goes", async () => {
    const hostname = newName();
    const greeting = await startRawServer((socket) => {
      socket.write("220 ready\r\n");
      socket.on("data", (chunk: Buffer) => socket.write(`echo ${chunk.toString("latin1")}`));
    });
    raw.push(greeting);
    scene.dns.answer(hostname, ["127.0.0.1"]);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname, cidr: LOOPBACK, ports: [greeting.port] }],
    });
    const client = await scene.dial(WEB, `${hostname}:${greeting.port}`);
    await client.receives("220 ready");
    client.send("HELO\r\n");
    await client.receives("echo HELO");
    scene.apply({
      name: "q",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname: "nothing.example.com" }],
    });
    await client.isGone();
    expect(scene.denials().at(-1)).toMatchObject({ code: "ISTH-2201" });
  });

  it("a connection on which nothing moves ends after timeouts.idle", async () => {
    const hostname = newName();
    const quiet = await startRawServer((socket) => socket.write("hello"));
    raw.push(quiet);
    scene.dns.answer(hostname, ["127.0.0.1"]);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname, cidr: LOOPBACK, ports: [quiet.port] }],
      timeouts: { idle: "300ms" },
    });
    const client = await scene.dial(WEB, `${hostname}:${quiet.port}`);
    await client.receives("hello");
    client.send("x");
    await client.isGone();
  });
});
