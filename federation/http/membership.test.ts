import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { memberReport, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { type TrustDomain, trustDomainSpiffeId } from "../model/spiffe-id.ts";
import { createClusterKey, createCsr } from "../trust/index.ts";

const directory = useTempDirs();
const scene = () => openRegistryScene({ directory: directory() });

function csrFor(trustDomain: string): string {
  return createCsr({ privateKey: createClusterKey(), trustDomain: trustDomain as TrustDomain });
}

describe("registering", () => {
  test("prints a token that expires, and a new one while the cluster has not joined", async () => {
    const { send, clock } = await scene();
    const first = await send("POST", "/v1/clusters", { body: { name: "east" } });
    expect(first.status).toBe(201);
    expect(first.json).toMatchObject({
      cluster: "east",
      trustDomain: "east.demo.mesh",
      action: "registered",
      token: expect.any(String),
      expiresAt: new Date(clock.now() + 15 * 60_000).toISOString(),
    });
    const second = await send("POST", "/v1/clusters", { body: { name: "east" } });
    expect(second.json).toMatchObject({ action: "reissued" });
    const void_ = { token: Reflect.get(Object(first.json), "token"), csr: csrFor("east.demo.mesh") };
    expect(await send("POST", "/v1/join", { token: null, body: void_ })).toMatchObject({
      status: 401,
      json: { code: "ISTH-1031", detail: expect.stringContaining("newer token") },
    });
  });

  test("refuses a name that has joined already", async () => {
    const { send, join } = await scene();
    await join("east");
    expect(await send("POST", "/v1/clusters", { body: { name: "east" } })).toMatchObject({
      status: 409,
      json: { code: "ISTH-5005" },
    });
  });

  test("prints no token and changes nothing in a dry run", async () => {
    const { send } = await scene();
    const { json } = await send("POST", "/v1/clusters", { body: { name: "east", dryRun: true } });
    expect(json).toEqual({ cluster: "east", trustDomain: "east.demo.mesh", action: "registered" });
    expect((await send("GET", "/v1/clusters/east")).status).toBe(404);
  });
});

describe("joining", () => {
  test("answers a constrained CA for the cluster's own key, its bundle and the snapshot keys", async () => {
    const { join, send } = await scene();
    await join("west");
    const east = await join("east");
    const certificate = new X509Certificate(east.answer.caCertificate);
    expect(certificate.ca).toBe(true);
    expect(certificate.subjectAltName).toBe(
      `URI:${trustDomainSpiffeId("east.demo.mesh" as TrustDomain).uri}`,
    );
    expect(east.answer).toMatchObject({
      federation: "demo.mesh",
      cluster: "east",
      trustDomain: "east.demo.mesh",
      snapshotKeys: Reflect.get(Object((await send("GET", "/v1/federation")).json), "snapshotKeys"),
      bundles: { trust_domains: { "east.demo.mesh": { keys: [{ use: "x509-svid" }], spiffe_sequence: 1 } } },
    });
    // Nobody else's: with a thousand clusters the answer would be a megabyte, of no use before the first snapshot.
    expect(Object.keys(east.answer.bundles.trust_domains)).toEqual(["east.demo.mesh"]);
  });

  test("spends a token once, however many redeem it at the same time", async () => {
    const { register, send } = await scene();
    const token = await register("east");
    const replies = await Promise.all(
      Array.from({ length: 50 }, () =>
        send("POST", "/v1/join", { token: null, body: { token, csr: csrFor("east.demo.mesh") } }),
      ),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    const refused = replies.filter(({ status }) => status !== 200);
    expect(refused).toHaveLength(49);
    for (const reply of refused) expect(reply).toMatchObject({ status: 409, json: { code: "ISTH-1033" } });
  });

  test("answers a repetition with the admitted key, and nobody else's, as it answered the first time", async () => {
    const { register, send, state, clock } = await scene();
    const token = await register("east");
    const privateKey = createClusterKey();
    const trustDomain = "east.demo.mesh" as TrustDomain;
    const redeem = (csr: string) => send("POST", "/v1/join", { token: null, body: { token, csr } });
    // Each request is signed anew, as after a restart: it is the key that counts.
    const own = () => createCsr({ privateKey, trustDomain });
    const revision = (await state()).revision;
    const replies = await Promise.all(Array.from({ length: 50 }, () => redeem(own())));
    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]));
    expect(new Set(replies.map(({ json }) => JSON.stringify(json))).size).toBe(1);
    expect((await redeem(own())).json).toEqual(replies[0]?.json);
    expect(await redeem(csrFor(trustDomain))).toMatchObject({ status: 409, json: { code: "ISTH-1033" } });
    const foreign = createCsr({ privateKey, trustDomain: "west.demo.mesh" as TrustDomain });
    expect(await redeem(foreign)).toMatchObject({ status: 409, json: { code: "ISTH-1033" } });
    expect(await redeem("-----BEGIN nonsense")).toMatchObject({ status: 409, json: { code: "ISTH-1033" } });
    // One admission: no second certificate, and nothing else in the log of changes.
    expect((await state()).revision).toBe(revision + 1);
    clock.advance(16 * 60_000);
    expect(await redeem(own())).toMatchObject({ status: 401, json: { code: "ISTH-1032" } });
  });

  test("admits nobody by a repetition once the cluster is removed, or registered anew", async () => {
    const { register, send } = await scene();
    const token = await register("east");
    const body = { token, csr: csrFor("east.demo.mesh") };
    const redeem = () => send("POST", "/v1/join", { token: null, body });
    expect((await redeem()).status).toBe(200);
    expect((await redeem()).status).toBe(200);
    await send("DELETE", "/v1/clusters/east");
    expect(await redeem()).toMatchObject({ status: 401, json: { code: "ISTH-1031" } });
    await register("east");
    expect(await redeem()).toMatchObject({ status: 401, json: { code: "ISTH-1031" } });
  });

  test("refuses an expired token, a forged one and one of a removed cluster, each with its own code", async () => {
    const { register, send, clock } = await scene();
    const redeem = (token: string) =>
      send("POST", "/v1/join", { token: null, body: { token, csr: csrFor("east.demo.mesh") } });
    const token = await register("east");
    const [head = "", payload = "", signature = ""] = token.split(".");
    expect(
      await redeem(`${head}.${payload}.${signature.replace(/^./, (c) => (c === "A" ? "B" : "A"))}`),
    ).toMatchObject({ status: 401, json: { code: "ISTH-1031" } });
    clock.advance(16 * 60_000);
    expect(await redeem(token)).toMatchObject({ status: 401, json: { code: "ISTH-1032" } });
    const next = await register("east");
    await send("DELETE", "/v1/clusters/east");
    expect(await redeem(next)).toMatchObject({ status: 401, json: { code: "ISTH-1031" } });
  });

  test("refuses a CSR that is damaged or asks for another cluster's name, and leaves the token unspent", async () => {
    const { register, send } = await scene();
    const token = await register("east");
    for (const csr of ["-----BEGIN nonsense", csrFor("west.demo.mesh")]) {
      expect(await send("POST", "/v1/join", { token: null, body: { token, csr } })).toMatchObject({
        status: 400,
        json: { code: "ISTH-1061" },
      });
    }
    const good = { token, csr: csrFor("east.demo.mesh") };
    expect((await send("POST", "/v1/join", { token: null, body: good })).status).toBe(200);
  });
});

describe("being a member", () => {
  test("renews the CA certificate, and repeats its answer to a repeated request", async () => {
    const { send, join, clock, state } = await scene();
    const east = await join("east");
    clock.advance(30 * 24 * 3_600_000);
    const renew = () =>
      send("POST", "/v1/clusters/east/renew", { as: east.credential(), body: { csr: east.csr() } });
    const first = await renew();
    expect(first.status).toBe(200);
    const revision = (await state()).revision;
    const again = await renew();
    expect(again.json).toEqual(first.json);
    expect((await state()).revision).toBe(revision);
    expect(first.json).not.toMatchObject({ caCertificate: east.answer.caCertificate });
    // What was signed with the earlier certificate is still a member's.
    expect((await send("GET", "/v1/clusters/east/snapshot", { as: east.credential() })).status).toBe(200);
  });

  test("reports services as a whole: the same list again changes nothing, a shorter one removes", async () => {
    const { reportServices, join, send } = await scene();
    const east = await join("east");
    expect(await reportServices(east, "cart", "pay")).toMatchObject({ json: { changed: true } });
    expect(await reportServices(east, "pay", "cart")).toMatchObject({ json: { changed: false } });
    expect(await reportServices(east, "pay")).toMatchObject({ json: { changed: true } });
    expect(await send("GET", "/v1/resources?kind=Service&cluster=east")).toMatchObject({
      json: { items: [{ kind: "Service", metadata: { cluster: "east", namespace: "shop", name: "pay" } }] },
    });
  });

  test("takes the report of a member with ten thousand listeners, and no larger one", async () => {
    const { send, join } = await scene();
    const east = await join("east");
    const listener = (at: number, padding = 0) => ({
      workload: "ns/shop/sa/web",
      service: `service-${at}${"x".repeat(padding)}.shop`,
      port: 80,
      address: `127.0.${at >> 8}.${at & 255}:18080`,
      protocol: { name: "http", why: "declared as http" } as const,
    });
    const report = (padding?: number) => ({
      as: east.credential(),
      body: memberReport({ listeners: Array.from({ length: 10_000 }, (_, at) => listener(at, padding)) }),
    });
    const path = "/v1/clusters/east/members/gateway-1";
    expect(await send("PUT", path, report())).toMatchObject({ status: 204 });
    expect(await send("PUT", path, report(300))).toMatchObject({ status: 413, json: { code: "ISTH-5007" } });
  });

  test("shows what each member applied and when it was last heard", async () => {
    const { send, join, clock } = await scene();
    const east = await join("east");
    const report = memberReport({
      appliedRevision: 2,
      state: "refused",
      code: "ISTH-1051",
      advertise: "192.0.2.1:15008",
      tunnels: [{ cluster: "west", address: "192.0.2.9:15008", state: "down", code: "ISTH-1002" }],
    });
    const path = "/v1/clusters/east/members/gateway-1";
    expect(await send("PUT", path, { as: east.credential(), body: report })).toMatchObject({
      status: 204,
      text: "",
    });
    const lastSeen = new Date(clock.now()).toISOString();
    expect(await send("GET", "/v1/clusters")).toMatchObject({
      json: {
        items: [
          {
            name: "east",
            state: "joined",
            joinedAt: expect.any(String),
            caNotAfter: expect.any(String),
            gateways: [{ id: "gateway-1", address: "192.0.2.1:15008" }],
            members: [{ ...report, member: "gateway-1", lastSeen }],
          },
        ],
      },
    });
    expect((await send("DELETE", path)).status).toBe(204);
    expect(await send("GET", "/v1/clusters/east")).toMatchObject({ json: { gateways: [], members: [] } });
  });

  test("keeps a cluster that exports or imports, and says by what it is held", async () => {
    const { send, join, apply } = await scene();
    await join("east");
    await join("west");
    const { exportOf, importOf } = await import("../../test/fakes/registry-scene.ts");
    await apply(exportOf("east", "cart", "west"), importOf("west", "cart", "east"));
    for (const name of ["east", "west"]) {
      expect(await send("DELETE", `/v1/clusters/${name}`)).toMatchObject({
        status: 409,
        json: { code: "ISTH-5010", detail: expect.stringContaining("ServiceImport/west/shop/cart") },
      });
    }
    await send("DELETE", "/v1/resources/ServiceImport/west/shop/cart");
    await send("DELETE", "/v1/resources/ServiceExport/east/shop/cart");
    expect(await send("DELETE", "/v1/clusters/east?dryRun=true")).toMatchObject({ json: { dryRun: true } });
    expect(await send("DELETE", "/v1/clusters/east")).toMatchObject({
      json: { cluster: "east", dryRun: false },
    });
    expect((await send("GET", "/v1/clusters/east")).status).toBe(404);
  });
});
