import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { startMesh } from "../fakes/mesh.ts";
import { withPathPolicy } from "../fakes/rules.ts";
import { until } from "../fakes/until.ts";

it("has a hundred requests under way to a service that takes two at a time on a connection", async () => {
  const held: http2.ServerHttp2Stream[] = [];
  const server = http2.createServer({ settings: { maxConcurrentStreams: 2 } });
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream) => void held.push(stream));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const mesh = await startMesh({ agents: true, endpoint: `127.0.0.1:${port}` });
  const session = http2.connect(`http://${mesh.address("ns/shop/sa/web")}`);
  const statuses: (number | undefined)[] = [];
  for (let count = 0; count < 100; count++)
    session
      .request({ ":path": "/" })
      .once("response", (head) => statuses.push(head[":status"]))
      .resume();
  await until("all have arrived", 5_000, () => (held.length + statuses.length >= 100 ? true : undefined));
  for (const stream of held) stream.respond({ ":status": 200 }, { endStream: true });
  await until("all are answered", 5_000, () => (statuses.length === 100 ? true : undefined));
  session.destroy();
  mesh.close();
  server.close();
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
});

it("is asked for no more than it takes where requests are read on their way, and all are served", async () => {
  const server = http2.createServer({ settings: { maxConcurrentStreams: 2 } });
  server.on("session", (session) => session.on("error", () => {}));
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    setTimeout(() => stream.respond({ ":status": 200 }, { endStream: true }), 5);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const mesh = await startMesh({ agents: true, endpoint: `127.0.0.1:${port}`, change: withPathPolicy });
  const session = http2.connect(`http://${mesh.address("ns/shop/sa/web")}`);
  const statuses: (number | undefined)[] = [];
  for (let count = 0; count < 200; count++)
    session
      .request({ ":path": "/" })
      .once("response", (head) => statuses.push(head[":status"]))
      .resume();
  await until("all are answered", 10_000, () => (statuses.length === 200 ? true : undefined));
  session.destroy();
  mesh.close();
  server.close();
  expect(statuses.filter((status) => status !== 200)).toEqual([]);
});
