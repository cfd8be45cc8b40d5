import { createServer, type RequestListener } from "node:http";
import { once } from "node:events";
import { afterEach, describe, expect, test } from "vitest";
import { unwrap } from "../../test/fakes/pki.ts";
import { ADMIN_TOKEN, exportOf, importOf, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { createRegistryClient } from "./registry-client.ts";

const directory = useTempDirs();

async function sceneClient(token: string | undefined = ADMIN_TOKEN) {
  const scene = await openRegistryScene({ directory: directory() });
  const fetchScene = async (input: string | URL | Request, init?: RequestInit) =>
    scene.fetch(new Request(input, init));
  return { scene, client: createRegistryClient({ url: "http://registry.test/", token, fetch: fetchScene }) };
}

describe("with a registry", () => {
  test("does everything that an operator does", async () => {
    const { scene, client } = await sceneClient();
    expect(unwrap(await client.federation())).toMatchObject({ name: "demo.mesh" });
    expect(unwrap(await client.register("north", { dryRun: true }))).not.toHaveProperty("token");
    await scene.join("east");
    await scene.join("west");
    const resources = [exportOf("east", "cart", "west"), importOf("west", "cart", "east")];
    expect(unwrap(await client.apply(resources, { dryRun: true })).results).toMatchObject([
      { action: "created" },
      {},
    ]);
    const applied = unwrap(await client.apply(resources, { requestToken: "request-1" }));
    expect(unwrap(await client.apply(resources, { requestToken: "request-1" }))).toEqual(applied);
    expect(unwrap(await client.clusters()).items.map(({ name }) => name)).toEqual(["east", "west"]);
    expect(unwrap(await client.cluster("east"))).toMatchObject({ state: "joined" });
    expect(Object.keys(unwrap(await client.bundles()).trust_domains)).toEqual([
      "east.demo.mesh",
      "west.demo.mesh",
    ]);
    expect(unwrap(await client.list()).items.map(({ kind }) => kind)).toEqual([
      "Cluster",
      "ServiceExport",
      "Cluster",
      "ServiceImport",
    ]);
    const reference = { kind: "ServiceImport", cluster: "west", namespace: "shop", name: "cart" } as const;
    expect(unwrap(await client.delete(reference, { dryRun: true }))).toMatchObject({ dryRun: true });
    expect(unwrap(await client.delete(reference))).toMatchObject({ deleted: { kind: "ServiceImport" } });
    expect(unwrap(await client.deleteCluster("west", { dryRun: true }))).toMatchObject({ cluster: "west" });
    unwrap(await client.forgetMember("east", "gateway-1"));
    expect(unwrap(await client.audit({ after: 4, limit: 1 }))).toMatchObject({
      items: [{ action: "resource.apply" }],
      next: 5,
    });
    const request = { role: "viewer", subject: "v", expiresInSeconds: 60 } as const;
    expect(unwrap(await client.issueOperatorToken(request)).token).toContain(".");
  });

  test("hands on why it was refused, with every complaint and the current version", async () => {
    const { client } = await sceneClient();
    expect(await client.apply([exportOf("east", "cart")])).toMatchObject({
      ok: false,
      error: { name: "request_invalid", status: 400, issues: [{ path: "resources[0].metadata.cluster" }] },
    });
    await client.register("east");
    await client.apply([exportOf("east", "cart")]);
    const reference = { kind: "ServiceExport", cluster: "east", namespace: "shop", name: "cart" } as const;
    expect(await client.delete(reference, { resourceVersion: 1 })).toMatchObject({
      error: { name: "version_conflict", status: 409, resourceVersion: 2 },
    });
    expect(await client.cluster("../federation")).toMatchObject({ error: { name: "not_found" } });
  });

  test("says that a credential is missing or wrong", async () => {
    for (const token of ["", "guess"]) {
      const { client } = await sceneClient(token);
      expect(await client.clusters()).toMatchObject({ error: { name: "unauthenticated", status: 401 } });
    }
  });
});

describe("with something else at the address", () => {
  const closers: (() => void)[] = [];
  afterEach(() => {
    for (const close of closers.splice(0)) close();
  });

  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer(listener).listen(0, "127.0.0.1");
    await once(server, "listening");
    closers.push(() => {
      server.closeAllConnections();
      server.close();
    });
    const address = server.address();
    return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  /** Only what never answers needs a short patience: a busy machine is not a failure. */
  async function failureOf(listener: RequestListener, timeoutMs = 5_000): Promise<unknown> {
    const client = createRegistryClient({ url: await serve(listener), token: "t", timeoutMs });
    const answer = await client.federation();
    if (answer.ok) throw new Error("it was believed");
    expect(answer.error.name).toBe("registry_unreachable");
    return answer.error.detail;
  }

  test("calls nothing a registry that does not answer like one", async () => {
    expect(await failureOf((_request, response) => void response.end("<html>hello</html>"))).toMatch(
      /does not understand/,
    );
    expect(await failureOf((_request, response) => void response.writeHead(502).end("bad gateway"))).toMatch(
      /HTTP 502, which is not a registry's answer/,
    );
    expect(await failureOf((_request, response) => void response.end('{"name":5}'))).toMatch(
      /name expected a string/,
    );
    expect(await failureOf((request) => void request.socket.destroy())).toMatch(/http:/);
    expect(await failureOf((_request, response) => void response.writeHead(200).write("{"), 200)).toMatch(
      /did not answer in time/,
    );
    expect(await failureOf(() => {}, 200)).toMatch(/did not answer in time/);
  });

  test("does not carry its token to where a redirect points", async () => {
    let seen = 0;
    const elsewhere = await serve((_request, response) => {
      seen += 1;
      response.end("{}");
    });
    await failureOf((_request, response) => void response.writeHead(307, { location: elsewhere }).end());
    expect(seen).toBe(0);
  });

  test("names the address that refuses connections", async () => {
    const url = await serve(() => {});
    for (const close of closers.splice(0)) close();
    const client = createRegistryClient({ url });
    expect(await client.federation()).toMatchObject({
      error: { name: "registry_unreachable", detail: expect.stringMatching(/^http:.*ECONNREFUSED/) },
    });
  });
});
