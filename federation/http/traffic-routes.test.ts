import { describe, expect, test } from "vitest";
import { exportOf, importOf, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import type { AppliedResource } from "../model/resource.ts";

const directory = useTempDirs();

async function linked() {
  const scene = await openRegistryScene({ directory: directory() });
  const [east, west, north] = [await scene.join("east"), await scene.join("west"), await scene.join("north")];
  for (const cluster of [east, north]) await scene.reportServices(cluster, "cart");
  await scene.reportServices(west, "cart");
  await scene.apply(exportOf("east", "cart", "west"), importOf("west", "cart", "east"));
  return { ...scene, east, west, north };
}

function routeOf(cluster: string, rules: readonly object[]): AppliedResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "TrafficRoute",
    metadata: { cluster, namespace: "shop", name: "canary" },
    spec: { parentRefs: [{ name: "cart" }], rules },
  };
}

const TIMEOUT = [{ timeouts: { request: "1s" } }];

describe("a TrafficRoute at the registry", () => {
  test("is stored, listed, compiled into its cluster's snapshot, and deleted", async () => {
    const { apply, send, snapshot, west } = await linked();
    const conditions = [
      { type: "Accepted", status: "True" },
      { type: "ResolvedRefs", status: "True" },
    ];
    expect(await apply(routeOf("west", TIMEOUT))).toMatchObject({
      json: { results: [{ action: "created", conditions }] },
    });
    expect(await send("GET", "/v1/resources?kind=TrafficRoute")).toMatchObject({
      json: { items: [{ metadata: { name: "canary" }, spec: { rules: TIMEOUT } }] },
    });
    expect((await snapshot(west)).routes).toMatchObject([
      {
        cluster: "west",
        namespace: "shop",
        name: "canary",
        mode: "enforce",
        parents: [{ name: "cart" }],
        rules: TIMEOUT,
      },
    ]);
    await send("DELETE", "/v1/resources/TrafficRoute/west/shop/canary");
    expect((await snapshot(west)).routes).toBeUndefined();
  });

  test("of the owner is compiled into the snapshot of whoever imports the service from it alone", async () => {
    const { apply, snapshot, west } = await linked();
    await apply(routeOf("east", TIMEOUT));
    expect((await snapshot(west)).routes).toMatchObject([{ cluster: "east", rules: TIMEOUT }]);
    await apply(exportOf("north", "cart", "west"), {
      ...importOf("west", "cart", "east"),
      spec: { from: { cluster: "east", also: ["north", "west"] } },
    } as AppliedResource);
    const both = await snapshot(west);
    expect(both.imports.map(({ from }) => from.cluster)).toEqual(["east", "north", "west"]);
    expect(both.routes).toBeUndefined();
  });

  test("that is invalid is refused whole with the paths of its fields, and the last good one stays in force", async () => {
    const { apply, snapshot, west } = await linked();
    await apply(routeOf("west", TIMEOUT));
    const before = await snapshot(west);
    const bad = [
      { timeouts: { request: "2s" } },
      { matches: [{ path: { type: "RegularExpression", value: "/(?=a)" } }], retry: { attempts: 0 } },
    ];
    expect(await apply(exportOf("east", "cart", "west", "north"), routeOf("west", bad))).toMatchObject({
      status: 400,
      json: {
        issues: [
          { path: "resources[1].spec.rules[1].matches[0].path.value" },
          { path: "resources[1].spec.rules[1].retry.attempts" },
        ],
      },
    });
    expect(await snapshot(west)).toEqual(before);
  });

  test("tells what it names and nobody has", async () => {
    const { apply } = await linked();
    const rules = [
      {
        backendRefs: [{ name: "cart", version: "v9" }, { name: "card" }, { name: "cart", cluster: "north" }],
      },
    ];
    const reply = await apply(routeOf("west", rules), {
      ...routeOf("west", TIMEOUT),
      metadata: { cluster: "west", namespace: "blog", name: "other" },
    } as AppliedResource);
    const text = JSON.stringify(reply.json);
    expect(text).toContain("no endpoint of cart.shop has version v9");
    expect(text).toContain("cluster west neither imports nor has card.shop");
    expect(text).toContain("cluster west does not import cart.shop from north");
    expect(text).toContain("NoMatchingParent");
  });
});
