import { describe, expect, test } from "vitest";
import { exportOf, importOf, openRegistryScene, policyOf } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import type { AppliedResource } from "../model/resource.ts";

const directory = useTempDirs();

async function twoClusters() {
  const scene = await openRegistryScene({ directory: directory() });
  const [east, west] = [await scene.join("east"), await scene.join("west")];
  return { ...scene, east, west };
}

function withVersion(resource: AppliedResource, resourceVersion: number): AppliedResource {
  return { ...resource, metadata: { ...resource.metadata, resourceVersion } } as AppliedResource;
}

describe("applying", () => {
  test("creates, then finds nothing to do, then updates and answers what was there before", async () => {
    const { apply, state } = await twoClusters();
    const created = await apply(exportOf("east", "cart", "west"));
    expect(created).toMatchObject({
      status: 200,
      json: { dryRun: false, results: [{ kind: "ServiceExport", action: "created" }] },
    });
    const revision = (await state()).revision;
    expect(await apply(exportOf("east", "cart", "west"))).toMatchObject({
      json: { revision, results: [{ action: "unchanged" }] },
    });
    expect(await apply(exportOf("east", "cart"))).toMatchObject({
      json: {
        revision: revision + 1,
        results: [
          {
            action: "updated",
            metadata: { resourceVersion: revision + 1 },
            previous: { metadata: { resourceVersion: revision }, spec: { consumers: [{ cluster: "west" }] } },
          },
        ],
      },
    });
  });

  test("is all or nothing", async () => {
    const { apply, send } = await twoClusters();
    const reply = await apply(exportOf("east", "cart", "west"), importOf("wset", "cart", "east"));
    expect(reply).toMatchObject({
      status: 400,
      json: { issues: [{ path: "resources[1].metadata.cluster", suggestion: "west" }] },
    });
    expect(await send("GET", "/v1/resources?kind=ServiceExport")).toMatchObject({ json: { items: [] } });
  });

  test("takes back what a listing answered, status and all", async () => {
    const { apply, send } = await twoClusters();
    await apply(exportOf("east", "cart", "west"));
    const listed = await send("GET", "/v1/resources?kind=ServiceExport");
    const [item] = Reflect.get(Object(listed.json), "items") as AppliedResource[];
    expect(item).toHaveProperty("status");
    expect(await apply(item!)).toMatchObject({ status: 200, json: { results: [{ action: "unchanged" }] } });
  });

  test("rehearses in a dry run", async () => {
    const { send, state } = await twoClusters();
    const revision = (await state()).revision;
    const body = { resources: [exportOf("east", "cart", "west")], dryRun: true };
    expect(await send("POST", "/v1/apply", { body })).toMatchObject({
      json: { dryRun: true, results: [{ action: "created" }] },
    });
    expect((await state()).revision).toBe(revision);
  });

  test("lets one of fifty concurrent updates of the same version win, and tells the others the current one", async () => {
    const { apply, state, send } = await twoClusters();
    await apply(exportOf("east", "cart", "west"));
    const read = (await state()).revision;
    const replies = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        apply(withVersion(exportOf("east", "cart", `c${index}`), read)),
      ),
    );
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(1);
    const losers = replies.filter(({ status }) => status === 409);
    expect(losers).toHaveLength(49);
    for (const loser of losers)
      expect(loser.json).toMatchObject({ code: "ISTH-5004", resourceVersion: read + 1 });
    const winner = replies.findIndex(({ status }) => status === 200);
    expect(await send("GET", "/v1/resources?kind=ServiceExport")).toMatchObject({
      json: { items: [{ spec: { consumers: [{ cluster: `c${winner}` }] } }] },
    });
  });

  test("refuses a version of an object that is gone", async () => {
    const { apply, send } = await twoClusters();
    await apply(exportOf("east", "cart", "west"));
    await send("DELETE", "/v1/resources/ServiceExport/east/shop/cart");
    expect(await apply(withVersion(exportOf("east", "cart", "west"), 4))).toMatchObject({
      status: 409,
      json: { code: "ISTH-5004" },
    });
  });

  test("keeps the date on which a name was first seen when its object is made again", async () => {
    const { apply, send, clock } = await twoClusters();
    const firstSeen = new Date(clock.now()).toISOString();
    await apply(exportOf("east", "cart", "west"));
    await send("DELETE", "/v1/resources/ServiceExport/east/shop/cart");
    clock.advance(3_600_000);
    expect(await apply(exportOf("east", "cart", "west"))).toMatchObject({
      json: { results: [{ action: "created", metadata: { firstSeen } }] },
    });
  });

  test("answers a repeated request token with the first answer, and refuses it for anything else", async () => {
    const { send, state } = await twoClusters();
    const body = { resources: [exportOf("east", "cart", "west")], requestToken: "request-1" };
    const first = await send("POST", "/v1/apply", { body });
    const revision = (await state()).revision;
    await send("POST", "/v1/apply", { body: { resources: [exportOf("east", "cart")] } });
    const again = await send("POST", "/v1/apply", { body });
    expect(again.json).toEqual(first.json);
    expect((await state()).revision).toBe(revision + 1);
    const other = { resources: [exportOf("east", "pay", "west")], requestToken: "request-1" };
    expect(await send("POST", "/v1/apply", { body: other })).toMatchObject({
      status: 409,
      json: { code: "ISTH-5009" },
    });
  });

  test("applies once what fifty connections send with one request token", async () => {
    const { send, state } = await twoClusters();
    const before = (await state()).revision;
    const body = { resources: [exportOf("east", "cart", "west")], requestToken: "request-1" };
    const replies = await Promise.all(Array.from({ length: 50 }, () => send("POST", "/v1/apply", { body })));
    for (const reply of replies) expect(reply.json).toEqual(replies[0]?.json);
    expect((await state()).revision).toBe(before + 1);
  });
});

describe("deleting", () => {
  test("answers what was deleted, and refuses what is not there or was changed meanwhile", async () => {
    const { apply, send, state } = await twoClusters();
    await apply(policyOf("west", "shop", "cart"));
    const version = (await state()).revision;
    const path = "/v1/resources/EgressPolicy/west/-/shop";
    expect(await send("DELETE", `${path}?resourceVersion=${version - 1}`)).toMatchObject({
      status: 409,
      json: { resourceVersion: version },
    });
    expect(await send("DELETE", `${path}?dryRun=true`)).toMatchObject({ json: { dryRun: true } });
    expect(await send("DELETE", `${path}?resourceVersion=${version}`)).toMatchObject({
      status: 200,
      json: { deleted: { kind: "EgressPolicy", metadata: { name: "shop" } } },
    });
    expect(await send("DELETE", path)).toMatchObject({ status: 404 });
    expect(await send("DELETE", "/v1/resources/EgresPolicy/west/-/shop")).toMatchObject({
      status: 400,
      json: { issues: [{ suggestion: "EgressPolicy" }] },
    });
  });
});

describe("conditions", () => {
  test("say of each half what the other one lacks, until both are there", async () => {
    const { apply, send, east, west, reportServices, reportGateway, register } = await twoClusters();
    const reasons = async (kind: string) => {
      const { json } = await send("GET", `/v1/resources?kind=${kind}`);
      const items = Reflect.get(Object(json), "items") as { status: { conditions: { reason: string }[] } }[];
      return items.flatMap(({ status }) => status.conditions.map(({ reason }) => reason));
    };
    await register("north");
    await apply(importOf("west", "cart", "nroth"));
    expect(await reasons("ServiceImport")).toEqual(["ClusterUnknown"]);
    await apply(importOf("west", "cart", "north"));
    expect(await reasons("ServiceImport")).toEqual(["ClusterPending"]);
    await apply(importOf("west", "cart", "east"));
    expect(await reasons("ServiceImport")).toEqual(["NotExported"]);
    await apply(exportOf("east", "cart", "north"));
    expect(await reasons("ServiceImport")).toEqual(["NotPermitted"]);
    await apply(exportOf("east", "cart", "west"));
    expect(await reasons("ServiceImport")).toEqual(["NoService"]);
    expect(await reasons("ServiceExport")).toEqual(["NoService", "Exported"]);
    await reportServices(east, "cart");
    expect(await reasons("ServiceImport")).toEqual(["NoGateway"]);
    await reportGateway(east, "192.0.2.1:15008");
    expect(await reasons("ServiceImport")).toEqual(["Ready"]);
    expect(await reasons("ServiceExport")).toEqual(["Valid", "Exported"]);
    await apply(policyOf("west", "shop", "cart", "crat"));
    expect(await reasons("EgressPolicy")).toEqual(["NotImported"]);
    expect(west.name).toBe("west");
  });

  test("name both policies that fit the same traffic, and who wins", async () => {
    const { apply, send } = await twoClusters();
    const policy = (name: string, hostname: string, tls: "originate" | "passthrough"): AppliedResource => ({
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "EgressPolicy",
      metadata: { cluster: "west", name },
      spec: { mode: "enforce", from: [{ namespace: "shop" }], to: [{ hostname }], tls: { mode: tls } },
    });
    await apply(policy("wide", "*.example.com", "passthrough"));
    await apply(policy("exact", "api.example.com", "originate"));
    const { json } = await send("GET", "/v1/resources?kind=EgressPolicy");
    expect(JSON.stringify(json)).toContain("exact wins over wide for api.example.com:443");
    expect(JSON.stringify(json)).toContain("they differ in tls, protocol");
  });

  test("name the nearest service when an export is misspelt", async () => {
    const { apply, east, reportServices } = await twoClusters();
    await reportServices(east, "cart");
    expect(await apply(exportOf("east", "crat", "wets"))).toMatchObject({
      json: {
        results: [
          {
            conditions: [
              {
                type: "Valid",
                status: "False",
                reason: "NoService",
                message: expect.stringContaining("cart.shop?"),
              },
              {
                type: "Exported",
                status: "False",
                reason: "ConsumerUnknown",
                message: expect.stringContaining("west?"),
              },
            ],
          },
        ],
      },
    });
  });
});

test("the audit record tells who changed what, page by page", async () => {
  const { apply, send, state } = await twoClusters();
  await apply(exportOf("east", "cart", "west"));
  const all = await send("GET", "/v1/audit");
  expect(all.json).toMatchObject({
    items: [
      { revision: 1, action: "cluster.register", actor: "bootstrap-admin", targets: ["Cluster/east"] },
      { revision: 2, action: "cluster.join", actor: "cluster:east" },
      { revision: 3, action: "cluster.register" },
      { revision: 4, action: "cluster.join" },
      { revision: 5, action: "resource.apply", targets: ["ServiceExport/east/shop/cart"] },
    ],
  });
  expect((await state()).revision).toBe(5);
  expect(await send("GET", "/v1/audit?after=1&limit=2")).toMatchObject({
    json: { items: [{ revision: 2 }, { revision: 3 }], next: 3 },
  });
});
