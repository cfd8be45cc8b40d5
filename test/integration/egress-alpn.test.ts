import { createServer as createHttp } from "node:http";
import http2, { type ServerHttp2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { createServer as createTls, type Server } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";

/** A host that settles on one of `protocols` in its own order, speaks what it settled on, and says so in its answer. */
async function startHost(pair: object, protocols: readonly string[] | undefined): Promise<Server> {
  const http1 = createHttp((request, response) => response.end(`spoke ${request.httpVersion}`));
  const server = createTls({
    ...pair,
    ...(protocols === undefined ? {} : { ALPNProtocols: [...protocols] }),
  });
  const sessions = new Set<ServerHttp2Session>();
  server.on("secureConnection", (socket) => {
    if (socket.alpnProtocol !== "h2") return void http1.emit("connection", socket);
    const session = http2.performServerHandshake(socket);
    sessions.add(session.on("error", () => {}));
    session.on("stream", (stream) => {
      stream.respond({ ":status": 200 });
      stream.end("spoke 2");
    });
  });
  server.on("tlsClientError", () => {});
  server.once("close", () => {
    for (const session of sessions) session.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return server;
}

describe("a host that a gateway originates TLS to", () => {
  let scene: EgressScene;
  const servers: Server[] = [];
  beforeAll(async () => {
    scene = await startEgress({ agents: false, policies: [] });
  });
  afterAll(async () => {
    await scene.stop();
    for (const server of servers) server.close();
  });

  it.each<readonly [string, readonly string[] | undefined, string]>([
    ["both and prefers HTTP/2", ["h2", "http/1.1"], "spoke 2"],
    ["both and prefers HTTP/1.1", ["http/1.1", "h2"], "spoke 1.1"],
    ["HTTP/2 only", ["h2"], "spoke 2"],
    ["HTTP/1.1 only", ["http/1.1"], "spoke 1.1"],
    ["no ALPN", undefined, "spoke 1.1"],
    ["nothing that we do", ["spdy/3"], "ISTH-3406"],
  ])("that knows %s is spoken to by what it chose: %j, %s", async (what, protocols, expected) => {
    const hostname = `${what.replaceAll(/[^a-z0-9]+/gi, "-").toLowerCase()}.example.com`;
    const { certificatePem: cert, privateKeyPem: key } = scene.ca.issue({ dns: [hostname] });
    const server = await startHost({ cert, key }, protocols);
    servers.push(server);
    const { port } = server.address() as AddressInfo;
    scene.dns.answer(hostname, ["127.0.0.1"]);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname, cidr: "127.0.0.1/32", ports: [port] }],
      tls: { mode: "originate", validation: { caCertificateRefs: [{ name: "outside-ca" }] } },
    });
    const client = await scene.dial(WEB, `${hostname}:${port}`);
    const request = `GET / HTTP/1.1\r\nHost: ${hostname}:${port}\r\n\r\n`;
    // The second finds the host known, and the connection open.
    for (const connection of ["", "Connection: close\r\n"]) {
      const before = client.text.length;
      client.send(request.replace(/\r\n$/, `${connection}\r\n`));
      await client.receives(new RegExp(`^[^]{${before},}(?:spoke [12.]+|ISTH-\\d+)`));
      expect(client.text.slice(before)).toContain(expected);
      if (expected.startsWith("ISTH")) break;
    }
    client.destroy();
  });
});
