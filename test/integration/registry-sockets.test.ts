import { connect } from "node:net";
import { once } from "node:events";
import { afterEach, expect, test } from "vitest";
import { signMemberRequest } from "../../federation/trust/index.ts";
import { type Listening, listen } from "../../federation/runtime/serve.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { unwrap } from "../fakes/pki.ts";
import { ADMIN_TOKEN, openRegistryScene } from "../fakes/registry-scene.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";
import { until } from "../fakes/until.ts";

const directory = useTempDirs();
const open: Listening[] = [];
afterEach(async () => {
  for (const listening of open.splice(0)) await listening.close();
});

async function servedScene() {
  const log = createMemoryLog();
  const scene = await openRegistryScene({ directory: directory(), log });
  const listening = unwrap(await listen(scene.fetch, { host: "127.0.0.1", port: 0 }));
  open.push(listening);
  const port = Number(listening.address.split(":")[1]);
  return { ...scene, log, port, url: `http://${listening.address}` };
}

test("a client that leaves in the middle of its body is no fault of the registry", async () => {
  const { port, url, log } = await servedScene();
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  const head = [
    "POST /v1/clusters HTTP/1.1",
    "Host: registry",
    `Authorization: Bearer ${ADMIN_TOKEN}`,
    "Content-Type: application/json",
    "Content-Length: 1000",
  ];
  socket.write(`${head.join("\r\n")}\r\n\r\n{"name":`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  socket.destroy();
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  await until("the refusal is logged", 5_000, () => (log.lines.length > 0 ? true : undefined));
  expect(log.of("fault")).toEqual([]);
});

test("members that vanish while they wait are forgotten", async () => {
  const { join, clock, port, registry } = await servedScene();
  const east = await join("east");
  const path = "/v1/clusters/east/snapshot";
  const etag = `"${registry.state.clusters.get("east")?.snapshotRevision}"`;
  const credential = east.credential();
  const sockets = Array.from({ length: 100 }, () => {
    const socket = connect(port, "127.0.0.1");
    const authorization = signMemberRequest({
      credential,
      method: "GET",
      url: path,
      body: undefined,
      now: clock.now(),
    });
    const fields = [
      "Host: registry",
      `Authorization: ${authorization}`,
      `If-None-Match: ${etag}`,
      "Prefer: wait=60",
    ];
    socket.write(`GET ${path} HTTP/1.1\r\n${fields.join("\r\n")}\r\n\r\n`);
    return socket;
  });
  await until("all wait", 10_000, () => (registry.wakeups.waiting === 100 ? true : undefined));
  for (const socket of sockets) socket.destroy();
  await until("none waits", 10_000, () => (registry.wakeups.waiting === 0 ? true : undefined));
});

test("what is not HTTP is answered with 400 and closed", async () => {
  const { port, url } = await servedScene();
  const socket = connect(port, "127.0.0.1");
  socket.write("\u0016\u0003\u0001 this is a TLS hello\r\n\r\n");
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 400 /);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
});
