import { describe, expect, test } from "vitest";
import { exportOf, importOf, openRegistryScene, policyOf } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import type { AppliedResource } from "../model/resource.ts";

const directory = useTempDirs();

async function scene() {
  const made = await openRegistryScene({ directory: directory() });
  const east = await made.join("east");
  const west = await made.join("west");
  await made.reportServices(east, "cart", "stock");
  const declare = (...resources: readonly AppliedResource[]) =>
    made.send("PUT", "/v1/clusters/east/declared", {
      as: east.credential("controller"),
      body: { resources },
    });
  return { ...made, east, west, declare };
}

describe("what a cluster's own control plane declares", () => {
  test("is offered to every cluster that it names with *, to its own not, with its properties", async () => {
    const { declare, snapshot, east, west } = await scene();
    const open = exportOf("east", "cart", "*");
    if (open.kind !== "ServiceExport") throw new Error("not an export");
    const properties = { sessionAffinity: "ClientIP", sessionAffinitySeconds: 10 } as const;
    expect(await declare({ ...open, spec: { ...open.spec, properties } })).toMatchObject({
      status: 200,
      json: { results: [{ action: "created", conditions: [{ type: "Valid" }, { reason: "NotImported" }] }] },
    });
    expect((await snapshot(west)).offers).toMatchObject([{ cluster: "east", name: "cart", properties }]);
    expect((await snapshot(east)).offers).toBeUndefined();
  });

  test("permits an importer that * names", async () => {
    const { declare, apply, snapshot, east, west } = await scene();
    await declare(exportOf("east", "cart", "*"));
    await apply(importOf("west", "cart", "east"));
    expect((await snapshot(west)).imports).toMatchObject([{ name: "cart", workloads: ["*"] }]);
    expect((await snapshot(east)).exports).toMatchObject([
      { name: "cart", consumers: [{ cluster: "west" }] },
    ]);
  });

  test("may be a name that its own cluster exports alone, or beside others; an operator's import begins elsewhere", async () => {
    const { declare, apply, snapshot, reportServices, east, west } = await scene();
    const own = importOf("east", "cart", "east");
    expect(await apply(own)).toMatchObject({ status: 400 });
    expect(await declare(exportOf("east", "cart", "*"), own)).toMatchObject({ status: 200 });
    const sources = async () => (await snapshot(east)).imports.map(({ from }) => from.cluster);
    expect(await sources()).toEqual(["east"]);
    await reportServices(west, "cart");
    await apply(exportOf("west", "cart", "*"));
    const both = { ...own, spec: { from: { cluster: "west", also: ["east"] } } } as AppliedResource;
    await declare(exportOf("east", "cart", "*"), both);
    expect((await sources()).sort()).toEqual(["east", "west"]);
  });

  test("is a complete set: what is left out goes, what an operator applied stays", async () => {
    const { declare, apply, state } = await scene();
    await apply(policyOf("east", "theirs", "cart"), exportOf("east", "stock", "west"));
    await declare(exportOf("east", "cart", "*"), policyOf("east", "ours", "cart"));
    const shadowed = await declare(policyOf("east", "ours", "cart"), exportOf("east", "stock", "*"));
    expect(shadowed.json).toMatchObject({ results: [{ action: "unchanged" }, { action: "shadowed" }] });
    const east = (await state()).clusters.get("east");
    expect([...(east?.policies.keys() ?? [])].sort()).toEqual(["ours", "theirs"]);
    expect([...(east?.exports.keys() ?? [])]).toEqual(["shop/stock"]);
    expect(east?.exports.get("shop/stock")?.spec.consumers).toEqual([{ cluster: "west" }]);
  });

  test("may be repeated at will: it changes nothing and keeps the first time that a name was seen", async () => {
    const { declare, state, clock } = await scene();
    await declare(exportOf("east", "cart", "*"));
    const before = await state();
    expect((await declare(exportOf("east", "cart", "*"))).json).toMatchObject({ revision: before.revision });
    expect(await state()).toEqual(before);
    const first = before.clusters.get("east")?.exports.get("shop/cart")?.metadata.firstSeen;
    await declare();
    clock.advance(60_000);
    await declare(exportOf("east", "cart", "*"));
    expect((await state()).clusters.get("east")?.exports.get("shop/cart")?.metadata.firstSeen).toBe(first);
  });

  test("is the controller's to say, for its own cluster only", async () => {
    const { send, east, west, declare } = await scene();
    const path = "/v1/clusters/east/declared";
    const body = { resources: [] };
    expect((await send("PUT", path, { as: east.credential("gateway"), body })).status).toBe(403);
    expect((await send("PUT", path, { as: west.credential("controller"), body })).status).toBe(403);
    expect((await send("PUT", path, { body })).status).toBe(403);
    expect(await declare(exportOf("west", "cart", "*"))).toMatchObject({ json: { code: "ISTH-5002" } });
  });
});
