import { describe, expect, test } from "vitest";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import { ADMIN_TOKEN, exportOf, memberReport, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { IN_PROCESS } from "../../test/fakes/scene-runtime.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { createSigningKey, issueOperatorToken, loadSigningKey } from "../trust/index.ts";

const directory = useTempDirs();
const scene = () => openRegistryScene({ directory: directory() });

describe("bad input", () => {
  test("refuses malformed JSON and says where it broke", async () => {
    const { send } = await scene();
    const reply = await send("POST", "/v1/clusters", { raw: '{"name": "east"' });
    expect(reply.status).toBe(400);
    expect(reply.headers.get("content-type")).toBe("application/problem+json");
    expect(reply.json).toMatchObject({ code: "ISTH-5006", detail: expect.stringContaining("not JSON") });
  });

  test("refuses a body that is not UTF-8", async () => {
    const { send } = await scene();
    const reply = await send("POST", "/v1/clusters", { raw: new Uint8Array([0x22, 0xff, 0xfe, 0x22]) });
    expect(reply.json).toMatchObject({ code: "ISTH-5006", detail: expect.stringContaining("UTF-8") });
  });

  test("refuses JSON that is nested half a million levels deep without falling over", async () => {
    const { send } = await scene();
    const depth = 500_000;
    const nested = await send("POST", "/v1/apply", { raw: "[".repeat(depth) + "]".repeat(depth) });
    const deeper = { code: "ISTH-5006", detail: expect.stringContaining("nested deeper") };
    expect(nested).toMatchObject({ status: 400, json: deeper });
    const inside = `{"resources":${"[".repeat(depth)}${"]".repeat(depth)}}`;
    expect(await send("POST", "/v1/apply", { raw: inside })).toMatchObject({ status: 400, json: deeper });
  });

  test("names every unknown field, wrong word and missing cluster at once, with the word that was meant", async () => {
    const { send } = await scene();
    const export_ = { ...exportOf("east", "cart", "west"), sepc: {} };
    const policy = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "EgressPolicy",
      metadata: { cluster: "east", name: "p" },
      spec: { mode: "enforced", from: [{ workload: "web" }], to: [] },
    };
    const reply = await send("POST", "/v1/apply", { body: { resources: [export_, policy], dryrun: true } });
    expect(reply.status).toBe(400);
    expect(reply.json).toMatchObject({
      issues: [
        { path: "resources[0].sepc", suggestion: "spec" },
        { path: "resources[1].spec.mode", suggestion: "enforce" },
        { path: "resources[1].spec.from[0].workload" },
        { path: "dryrun", suggestion: "dryRun" },
      ],
    });
  });

  test.each([
    undefined,
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=latin1",
  ])("refuses the content type %s", async (type) => {
    const { fetch } = await scene();
    const headers = new Headers({ authorization: `Bearer ${ADMIN_TOKEN}` });
    if (type !== undefined) headers.set("content-type", type);
    const body = new TextEncoder().encode('{"name":"east"}');
    const reply = await fetch(new Request("http://r/v1/clusters", { method: "POST", headers, body }));
    expect(reply.status).toBe(415);
    expect(await reply.json()).toMatchObject({ code: "ISTH-5011" });
  });

  test("refuses a body of more than 1 MiB, whether its length is declared or not", async () => {
    const { send, fetch } = await scene();
    const big = JSON.stringify({ name: "x".repeat(1024 * 1024) });
    expect(await send("POST", "/v1/clusters", { raw: big })).toMatchObject({
      status: 413,
      json: { code: "ISTH-5007" },
    });
    const chunk = new Uint8Array(64 * 1024).fill(0x20);
    let sent = 0;
    const endless = new ReadableStream({
      async pull(controller) {
        // In turns, and with an end where a whole runtime stands between: one that reads ahead would fill the test's memory, and one
        // that answers and closes resets who still writes.
        await new Promise((resolve) => setImmediate(resolve));
        sent += chunk.length;
        controller.enqueue(chunk);
        if (!IN_PROCESS && sent > 1024 * 1024) controller.close();
      },
    });
    const headers = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" };
    const init = { method: "POST", headers, body: endless, duplex: "half" as const };
    const reply = await fetch(new Request("http://r/v1/clusters", init));
    expect(reply.status).toBe(413);
    // What stands in front of the others takes in more before it hands anything on.
    if (IN_PROCESS) expect(sent).toBeLessThan(2 * 1024 * 1024);
  });

  test("refuses unknown query parameters with a suggestion", async () => {
    const { send } = await scene();
    expect(await send("GET", "/v1/resources?clustr=east")).toMatchObject({
      status: 400,
      json: { issues: [{ path: "clustr", suggestion: "cluster" }] },
    });
    expect(await send("GET", "/v1/resources?kind=ServiceExports")).toMatchObject({
      json: { issues: [{ path: "kind", suggestion: "ServiceExport" }] },
    });
  });

  test.each(["East", "-east", "east.west", "e".repeat(64), "", 5, null])(
    "refuses the cluster name %j",
    async (name) => {
      const { send } = await scene();
      expect(await send("POST", "/v1/clusters", { body: { name } })).toMatchObject({
        status: 400,
        json: { issues: [{ path: "name" }] },
      });
    },
  );

  test("answers 404 with a problem document where nothing is served", async () => {
    const { send } = await scene();
    for (const path of [
      "/",
      "/v1",
      "/v1/clusters/nowhere",
      "/v1/bundles/nowhere.demo.mesh",
      "/v1/%00",
      "/%ff",
    ]) {
      expect(await send("GET", path), path).toMatchObject({ status: 404, json: { code: "ISTH-5003" } });
    }
  });
});

describe("authentication", () => {
  test("refuses requests without, with a forged and with a foreign token", async () => {
    const { send, clock } = await scene();
    const foreignKey = loadSigningKey(createSigningKey().privateKeyPem);
    if (!foreignKey.ok) throw new Error("no key");
    const foreign = await issueOperatorToken({
      key: foreignKey.value,
      federation: "demo.mesh",
      subject: "mallory",
      role: "admin",
      now: clock.now(),
      lifetimeMs: 60_000,
    });
    for (const token of [null, "", "guess", `${ADMIN_TOKEN}x`, foreign.token]) {
      const reply = await send("GET", "/v1/clusters", { token });
      expect(reply, String(token)).toMatchObject({ status: 401, json: { code: "ISTH-5001" } });
      expect(reply.headers.get("www-authenticate")).toContain("Bearer");
    }
  });

  test("gives each role what it covers and nothing more", async () => {
    const { send, join } = await scene();
    await join("east");
    const tokenFor = async (role: string) => {
      const body = { role, subject: `${role}@demo`, expiresInSeconds: 60 };
      return String(Reflect.get(Object((await send("POST", "/v1/operator-tokens", { body })).json), "token"));
    };
    const [viewer, editor, admin] = await Promise.all(["viewer", "editor", "admin"].map(tokenFor));
    const statuses = async (token = "") => [
      (await send("GET", "/v1/clusters", { token })).status,
      (await send("POST", "/v1/apply", { token, body: { resources: [exportOf("east", "a", "west")] } }))
        .status,
      (await send("POST", "/v1/clusters", { token, body: { name: "north" } })).status,
    ];
    expect(await statuses(viewer)).toEqual([200, 403, 403]);
    expect(await statuses(editor)).toEqual([200, 200, 403]);
    expect(await statuses(admin)).toEqual([200, 200, 201]);
  });

  test("refuses an operator token after its time", async () => {
    const { send, clock } = await scene();
    const body = { role: "viewer", subject: "v", expiresInSeconds: 60 };
    const { json } = await send("POST", "/v1/operator-tokens", { body });
    const token = String(Reflect.get(Object(json), "token"));
    clock.advance(61_000);
    expect(await send("GET", "/v1/clusters", { token })).toMatchObject({
      status: 401,
      json: { code: "ISTH-5001" },
    });
  });

  test("lets a member speak for its own cluster only", async () => {
    const { send, join } = await scene();
    const [east, west] = [await join("east"), await join("west")];
    const own = await send("GET", "/v1/clusters/east/snapshot", { as: east.credential() });
    expect(own.status).toBe(200);
    const other = await send("GET", "/v1/clusters/east/snapshot", { as: west.credential() });
    expect(other).toMatchObject({ status: 403, json: { code: "ISTH-5002" } });
    expect(await send("GET", "/v1/clusters/west", { as: east.credential() })).toMatchObject({ status: 403 });
    expect(await send("GET", "/v1/clusters", { as: east.credential() })).toMatchObject({ status: 403 });
  });

  test("lets only gateways renew, report services and advertise an address", async () => {
    const { send, join } = await scene();
    const east = await join("east");
    const agent = () => east.credential("agent");
    const renew = { as: agent(), body: { csr: east.csr() } };
    expect(await send("POST", "/v1/clusters/east/renew", renew)).toMatchObject({ status: 403 });
    const services = { as: agent(), body: { services: [] } };
    expect(await send("PUT", "/v1/clusters/east/services", services)).toMatchObject({ status: 403 });
    const report = { as: agent(), body: memberReport({ role: "gateway", advertise: "10.0.0.1:15008" }) };
    expect(await send("PUT", "/v1/clusters/east/members/gateway-1", report)).toMatchObject({ status: 403 });
    const heartbeat = { as: agent(), body: memberReport({ role: "agent" }) };
    expect((await send("PUT", "/v1/clusters/east/members/agent-1", heartbeat)).status).toBe(204);
  });

  test("refuses a member request whose body was changed, which was replayed, or which is too old", async () => {
    const { send, join, clock } = await scene();
    const east = await join("east");
    const { signMemberRequest } = await import("../trust/index.ts");
    const path = "/v1/clusters/east/services";
    const body = JSON.stringify({ services: [] });
    const sign = () => {
      const now = clock.now();
      return signMemberRequest({ credential: east.credential(), method: "PUT", url: path, body, now });
    };
    const put = (raw: string, authorization: string) =>
      send("PUT", path, { token: null, raw, headers: { authorization } });
    const changed = await put(JSON.stringify({ services: [], x: 1 }), sign());
    expect(changed).toMatchObject({ status: 401, json: { code: "ISTH-1041" } });
    const once = sign();
    expect((await put(body, once)).status).toBe(200);
    expect(await put(body, once)).toMatchObject({ status: 401, json: { code: "ISTH-1041" } });
    const old = sign();
    clock.advance(120_000);
    expect(await put(body, old)).toMatchObject({ status: 401, json: { code: "ISTH-1042" } });
  });

  test("refuses the members of a removed cluster even after its name is registered and joined again", async () => {
    const { send, join } = await scene();
    const before = await join("east");
    expect((await send("DELETE", "/v1/clusters/east")).status).toBe(200);
    const after = await join("east");
    const path = "/v1/clusters/east/snapshot";
    expect(await send("GET", path, { as: before.credential() })).toMatchObject({ status: 401 });
    expect((await send("GET", path, { as: after.credential() })).status).toBe(200);
  });
});

describe("faults of our own", () => {
  test.runIf(IN_PROCESS)("answers 500 without a word about the inside, and logs the whole", async () => {
    const log = createMemoryLog();
    const { send, registry } = await openRegistryScene({ directory: directory(), log });
    registry.audit = () => {
      throw new TypeError("secret inner state at /some/path");
    };
    const reply = await send("GET", "/v1/audit");
    expect(reply).toMatchObject({ status: 500, json: { code: "ISTH-5099" } });
    expect(reply.text).not.toMatch(/secret|inner|TypeError|path/);
    expect(log.of("fault")).toHaveLength(1);
    expect(String(log.of("fault")[0]?.["error"])).toContain("secret inner state");
  });

  test.runIf(IN_PROCESS)("answers liveness and readiness, and says when it is about to leave", async () => {
    let accepting = true;
    const { send } = await openRegistryScene({ directory: directory(), accepting: () => accepting });
    expect(await send("GET", "/healthz", { token: null })).toMatchObject({ status: 200, json: { ok: true } });
    expect(await send("GET", "/readyz", { token: null })).toMatchObject({
      status: 200,
      json: { ready: true, writable: true, revision: 0 },
    });
    accepting = false;
    expect(await send("GET", "/readyz", { token: null })).toMatchObject({
      status: 503,
      json: { ready: false },
    });
  });

  test("describes every operation in its OpenAPI document", async () => {
    const { send } = await scene();
    const { json, status } = await send("GET", "/openapi.json", { token: null });
    expect(status).toBe(200);
    expect(json).toMatchObject({
      openapi: "3.1.0",
      components: { schemas: { Problem: {} }, securitySchemes: { operator: {}, member: {} } },
    });
    expect(Object.keys(Object(Reflect.get(Object(json), "paths")))).toEqual(
      expect.arrayContaining([
        "/v1/apply",
        "/v1/clusters/{name}/snapshot",
        "/v1/join",
        "/v1/resources/{kind}/{cluster}/{namespace}/{name}",
      ]),
    );
  });
});
