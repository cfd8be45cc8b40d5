import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { createRegistryClient } from "../../federation/cli/registry-client.ts";
import { systemSpiffeId, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import {
  createClusterKey,
  createCsr,
  issueSvid,
  loadClusterCa,
  privateKeyToPem,
  signMemberRequest,
} from "../../federation/trust/index.ts";
import { exportOf, importOf, memberReport, policyOf } from "../fakes/registry-scene.ts";
import { unwrap } from "../fakes/pki.ts";
import {
  failRegistryProcess,
  type RegistryProcess,
  startRegistryProcess,
} from "../fakes/registry-process.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";
import { until } from "../fakes/until.ts";

const directory = useTempDirs();
const running: RegistryProcess[] = [];
afterEach(() => {
  for (const { child } of running.splice(0)) child.kill("SIGKILL");
});

async function start(
  stateDir = directory(),
  settings: Record<string, string> = {},
): Promise<RegistryProcess> {
  const started = await startRegistryProcess(stateDir, settings);
  running.push(started);
  return started;
}

/** Joins over the network and answers how to speak as the cluster's gateway. */
async function joinAs(registry: RegistryProcess, name: string) {
  const token = unwrap(await registry.client.register(name)).token ?? "";
  const privateKey = createClusterKey();
  const trustDomain = `${name}.demo.mesh` as TrustDomain;
  const joined = await fetch(`${registry.url}/v1/join`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ token, csr: createCsr({ privateKey, trustDomain }) }),
  });
  const answer = (await joined.json()) as { caCertificate: string };
  const ca = unwrap(
    loadClusterCa({ certificatePem: answer.caCertificate, privateKeyPem: privateKeyToPem(privateKey) }),
  );
  const credential = issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now: Date.now() });
  return (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const url = `${registry.url}/v1/clusters/${name}${path}`;
    const text = body === undefined ? undefined : JSON.stringify(body);
    const authorization = signMemberRequest({ credential, method, url, body: text, now: Date.now() });
    const type = text === undefined ? {} : { "content-type": "application/json" };
    const init = { method, headers: { authorization, ...type, ...headers } };
    return fetch(url, text === undefined ? init : { ...init, body: text });
  };
}

describe("a registry process", () => {
  test("makes its keys at the first start, keeps them to itself, and finds them at the next", async () => {
    const stateDir = directory();
    const first = await start(stateDir);
    for (const file of readdirSync(stateDir))
      expect(statSync(join(stateDir, file)).mode & 0o777, file).toBe(0o600);
    const [info, token] = [unwrap(await first.client.federation()), first.token];
    unwrap(await first.client.register("east"));
    expect(await first.end("SIGTERM")).toBe(0);
    const second = await start(stateDir);
    expect(second.token).toBe(token);
    expect(unwrap(await second.client.federation()).snapshotKeys).toEqual(info.snapshotKeys);
    expect(unwrap(await second.client.clusters()).items).toMatchObject([{ name: "east", state: "pending" }]);
  });

  test("works without a parent that listens, and ends at SIGINT", async () => {
    const entry = new URL("../../federation/runtime/node.ts", import.meta.url).pathname;
    const env = {
      ISTHMUS_STATE_DIR: directory(),
      ISTHMUS_LISTEN: "127.0.0.1:0",
      ISTHMUS_FEDERATION: "demo.mesh",
    };
    const child = spawn(process.execPath, [entry], { env, stdio: ["ignore", "ignore", "pipe"] });
    const exited = once(child, "exit");
    const [line] = (await once(child.stderr, "data")) as [Buffer];
    const ready = JSON.parse(line.toString()) as { event: string; listen: string };
    expect(ready.event).toBe("ready");
    const client = createRegistryClient({ url: `http://${ready.listen}` });
    expect(unwrap(await client.federation()).name).toBe("demo.mesh");
    child.kill("SIGINT");
    expect(await exited).toEqual([0, null]);
  });

  test("ends with its parent", async () => {
    const { child } = await start();
    const exited = once(child, "exit");
    child.disconnect();
    expect(await exited).toEqual([0, null]);
  });

  test("lets waiting members go at SIGTERM instead of holding on to them", async () => {
    const registry = await start();
    const east = await joinAs(registry, "east");
    const etag = (await east("GET", "/snapshot")).headers.get("etag") ?? "";
    const began = performance.now();
    const waiting = east("GET", "/snapshot", undefined, { "if-none-match": etag, prefer: "wait=30" });
    await until("the poll waits", 5_000, async () =>
      (await east("GET", "/snapshot", undefined, { "if-none-match": etag })).status === 304
        ? true
        : undefined,
    );
    expect(await registry.end("SIGTERM")).toBe(0);
    expect((await waiting).status).toBe(304);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("takes over the state directory of a predecessor that is just ending", async () => {
    const stateDir = directory();
    const first = await start(stateDir);
    unwrap(await first.client.register("east"));
    const second = start(stateDir);
    await first.end("SIGTERM");
    expect(unwrap(await (await second).client.clusters()).items).toHaveLength(1);
  });
});

describe("a registry that cannot start says why in one place and exits", () => {
  test("with all mistakes of its settings", async () => {
    const { code, stderr } = await failRegistryProcess({
      ISTHMUS_LISTEN: "nowhere",
      ISTHMUS_FEDERATION: "Demo Mesh",
      ISTHMUS_LOG_LEVEL: "loud",
    });
    expect(code).toBe(64);
    expect(stderr).toMatch(/^error\[ISTH-6010\]: .*\nwhy: .*\n/);
    for (const key of ["STATE_DIR", "LISTEN", "FEDERATION", "LOG_LEVEL"])
      expect(stderr).toContain(`ISTHMUS_${key}: `);
    expect(stderr).toMatch(/\nfix: .*\n$/);
  });

  test("when its port is taken", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const { code, stderr } = await failRegistryProcess({
      ISTHMUS_STATE_DIR: directory(),
      ISTHMUS_LISTEN: `127.0.0.1:${port}`,
      ISTHMUS_FEDERATION: "demo.mesh",
    });
    server.close();
    expect(code).toBe(69);
    expect(stderr).toBe(
      [
        "error[ISTH-6003]: the address is in use already",
        `why: 127.0.0.1:${port} is taken`,
        "fix: stop the other process, or choose another port; 0 takes any free one",
        "",
      ].join("\n"),
    );
  });

  test("when its state directory is none, belongs to another federation, or has lost or exposed a key", async () => {
    const stateDir = directory();
    const file = join(stateDir, "a-file");
    writeFileSync(file, "");
    const settings = { ISTHMUS_LISTEN: "127.0.0.1:0", ISTHMUS_FEDERATION: "demo.mesh" };
    for (const path of [file, join(file, "below")]) {
      const { code, stderr } = await failRegistryProcess({ ...settings, ISTHMUS_STATE_DIR: path });
      expect(code).toBe(69);
      expect(stderr).toContain("error[ISTH-6004]: ");
    }
    const used = directory();
    await (await start(used)).end("SIGTERM");
    const other = { ...settings, ISTHMUS_STATE_DIR: used, ISTHMUS_FEDERATION: "other.mesh" };
    expect(await failRegistryProcess(other)).toMatchObject({
      code: 64,
      stderr: expect.stringContaining("belongs to the federation demo.mesh"),
    });
    writeFileSync(join(used, "root.key"), "half a k");
    expect(await failRegistryProcess({ ...settings, ISTHMUS_STATE_DIR: used })).toMatchObject({ code: 69 });
  });
});

test("a change reaches a waiting member at once", { timeout: 60_000 }, async () => {
  const registry = await start();
  const east = await joinAs(registry, "east");
  const west = await joinAs(registry, "west");
  const cart = { namespace: "shop", name: "cart", ports: [{ port: 80, protocol: "http" }] };
  expect((await east("PUT", "/services", { services: [cart] })).status).toBe(200);
  expect(
    (await east("PUT", "/members/gateway-1", memberReport({ advertise: "192.0.2.1:15008" }))).status,
  ).toBe(204);
  unwrap(await registry.client.apply([exportOf("east", "cart", "west"), importOf("west", "cart", "east")]));
  let etag = (await west("GET", "/snapshot")).headers.get("etag") ?? "";
  const took: number[] = [];
  for (let round = 0; round < 40; round++) {
    const news = west("GET", "/snapshot", undefined, { "if-none-match": etag, prefer: "wait=30" });
    // Time for the poll to arrive and wait.
    await new Promise((resolve) => setTimeout(resolve, 15));
    const began = performance.now();
    const arrived = news.then(async (reply) => {
      await reply.text();
      took.push(performance.now() - began);
      return reply.headers.get("etag") ?? "";
    });
    unwrap(await registry.client.apply([policyOf("west", "p", round % 2 === 0 ? "cart" : "pay")]));
    etag = await arrived;
  }
  took.sort((a, b) => a - b);
  // Measured 11 ms on a busy machine; the bound is for one that is busier still.
  expect(took[20]).toBeLessThan(250);
});
