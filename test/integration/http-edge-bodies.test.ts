import { createHash, randomBytes } from "node:crypto";
import { createServer, request, type Server } from "node:http";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { addressOf } from "../fakes/http-wire.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { dialRaw } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

const MEGABYTES = 50;

/** Node's own HTTP server as the workload: another reader of what we write. */
describe.each([
  { agents: false, chunked: true },
  { agents: true, chunked: false },
])("large bodies, agents: $agents, chunked: $chunked", ({ agents, chunked }) => {
  let server: Server;
  let mesh: Mesh;
  let aborted = 0;
  beforeAll(async () => {
    server = createServer((incoming, response) => {
      incoming.on("error", () => (aborted += 1));
      incoming.pipe(response);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const bound = server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    mesh = await startMesh({ agents, endpoint: `127.0.0.1:${port}` });
  });
  afterAll(async () => {
    mesh.close();
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });

  const target = () => addressOf(mesh.address("ns/shop/sa/web"));

  it("come back byte by byte the same", async () => {
    const block = randomBytes(1024 * 1024);
    const headers = chunked ? {} : { "content-length": MEGABYTES * block.length };
    const up = createHash("sha256");
    const down = createHash("sha256");
    const outgoing = request({ ...target(), method: "POST", headers });
    const answered = once(outgoing, "response");
    const send = async () => {
      for (let sent = 0; sent < MEGABYTES; sent++) {
        block.writeUInt32BE(sent);
        up.update(block);
        if (!outgoing.write(Buffer.from(block))) await once(outgoing, "drain");
      }
      outgoing.end();
    };
    const receive = async () => {
      const [response] = await answered;
      for await (const chunk of response) down.update(chunk);
      expect(response.complete).toBe(true);
    };
    await Promise.all([send(), receive()]);
    expect(down.digest("hex")).toBe(up.digest("hex"));
  });

  it("are seen as aborted by the workload when the client resets halfway", async () => {
    aborted = 0;
    const client = await dialRaw(mesh.address("ns/shop/sa/web"));
    client.send(`POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 100000\r\n\r\n${"b".repeat(50_000)}`);
    await client.receives("b".repeat(50_000));
    client.socket.resetAndDestroy();
    await until("the workload sees it", 5_000, () => (aborted === 1 ? true : undefined));
  });

  it("are seen as aborted by the workload when the client half-closes halfway", async () => {
    aborted = 0;
    const client = await dialRaw(mesh.address("ns/shop/sa/web"));
    client.send(`POST / HTTP/1.1\r\nHost: cart.shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`);
    await client.receives("hello");
    client.socket.end();
    await until("the workload sees it", 5_000, () => (aborted === 1 ? true : undefined));
    await client.isGone();
  });
});
