import { expect } from "vitest";
import type { RouteMatch } from "../../../federation/model/traffic-route.ts";
import { trafficRoute, type TrafficWorld } from "../../fakes/traffic-world.ts";
import { type Row, row, V1, V2 } from "./row.ts";

/** What fits goes to v2, everything else to v1. */
function routed(world: TrafficWorld, ...matches: readonly RouteMatch[]): void {
  world.route(trafficRoute([{ matches, backendRefs: [V2] }, { backendRefs: [V1] }]));
}

async function fits(
  world: TrafficWorld,
  path: string,
  ask: Parameters<TrafficWorld["ask"]>[1] = {},
): Promise<boolean> {
  return (await world.ask(path, ask)).echo.backend === "cart-v2";
}

const grpc = { method: "POST", headers: { "content-type": "application/grpc" } };

export const MATCH_ROWS: readonly Row[] = [
  row(
    "rules[].matches[].path.type rules[].matches[].path.value",
    "Exact fits that path and no other",
    async (world) => {
      routed(world, { path: { type: "Exact", value: "/one" } });
      expect(await fits(world, "/one")).toBe(true);
      expect(await fits(world, "/one?a=b")).toBe(true);
      for (const path of ["/one/", "/one/two", "/ONE", "/"]) expect(await fits(world, path)).toBe(false);
    },
  ),
  row(
    "rules[].matches[].path.type rules[].matches[].path.value",
    "PathPrefix fits element by element, and is the default",
    async (world) => {
      for (const match of [
        { path: { type: "PathPrefix", value: "/one/" } },
        { path: { value: "/one" } },
      ] as const) {
        routed(world, match);
        for (const path of ["/one", "/one/", "/one/two", "/one/two/three", "/one?x=/"])
          expect(await fits(world, path)).toBe(true);
        for (const path of ["/onetwo", "/", "/two/one"]) expect(await fits(world, path)).toBe(false);
      }
    },
  ),
  row(
    "rules[].matches[].path.type rules[].matches[].path.value",
    "RegularExpression fits the whole path",
    async (world) => {
      routed(world, { path: { type: "RegularExpression", value: "/v[0-9]+/(users|carts)" } });
      for (const path of ["/v1/users", "/v22/carts?x=1"]) expect(await fits(world, path)).toBe(true);
      for (const path of ["/v1/users/2", "/x/v1/users", "/v/users"])
        expect(await fits(world, path)).toBe(false);
    },
  ),
  row(
    "rules[].matches[].headers[].name rules[].matches[].headers[].value rules[].matches[].headers[].type",
    "headers fit by value, names in any case, all of one match together",
    async (world) => {
      routed(world, {
        headers: [
          { name: "X-Version", value: "two" },
          { name: "colour", type: "RegularExpression", value: "(blue|green)" },
        ],
      });
      expect(await fits(world, "/", { headers: { "x-version": "two", colour: "green" } })).toBe(true);
      expect(await fits(world, "/", { headers: { "x-version": "two" } })).toBe(false);
      expect(await fits(world, "/", { headers: { "x-version": "twofold", colour: "green" } })).toBe(false);
      expect(await fits(world, "/", { headers: { "x-version": "two", colour: "greenish" } })).toBe(false);
    },
  ),
  row(
    "rules[].matches[].headers[].name rules[].matches[].headers[].value",
    "Host is what the client calls the service, whichever version of HTTP says it",
    async (world) => {
      routed(world, { headers: [{ name: "Host", value: "cart.test" }] });
      expect(await fits(world, "/", { headers: { host: "cart.test" } })).toBe(true);
      expect(await fits(world, "/", { headers: { host: "cart.shop" } })).toBe(false);
    },
  ),
  row(
    "rules[].matches[].queryParams[].name rules[].matches[].queryParams[].value rules[].matches[].queryParams[].type",
    "MeshHTTPRouteQueryParamMatching: query parameters fit by their first value",
    async (world) => {
      routed(
        world,
        { queryParams: [{ name: "animal", value: "whale" }] },
        {
          queryParams: [
            { name: "fish", type: "RegularExpression", value: "sa.*n" },
            { name: "big", value: "a b" },
          ],
        },
      );
      expect(await fits(world, "/?animal=whale")).toBe(true);
      expect(await fits(world, "/?x&animal=whale&animal=hare")).toBe(true);
      expect(await fits(world, "/?animal=hare&animal=whale")).toBe(false);
      expect(await fits(world, "/?Animal=whale")).toBe(false);
      expect(await fits(world, "/?fish=salmon&big=a%20b")).toBe(true);
      expect(await fits(world, "/?fish=salmon")).toBe(false);
    },
  ),
  row("rules[].matches[].method", "an HTTP method fits exactly", async (world) => {
    routed(world, { method: "POST" });
    expect(await fits(world, "/", { method: "POST", body: "x" })).toBe(true);
    expect(await fits(world, "/")).toBe(false);
  }),
  row(
    "rules[].matches[].method.service rules[].matches[].method.method rules[].matches[].method.type",
    "a gRPC service and method fit gRPC requests by their path",
    async (world) => {
      routed(
        world,
        { method: { service: "shop.Cart", method: "Add" } },
        { method: { service: "shop.Stock" } },
        { method: { method: "Health" } },
      );
      expect(await fits(world, "/shop.Cart/Add", grpc)).toBe(true);
      expect(await fits(world, "/shop.Cart/Drop", grpc)).toBe(false);
      expect(await fits(world, "/shop.Stock/Any", grpc)).toBe(true);
      expect(await fits(world, "/other.Thing/Health", grpc)).toBe(true);
      expect(await fits(world, "/shop.Cart/Add", { method: "POST" })).toBe(false);
      routed(world, { method: { type: "RegularExpression", service: "shop\\..+", method: "(Add|Put)" } });
      expect(await fits(world, "/shop.Cart/Put", grpc)).toBe(true);
      expect(await fits(world, "/shop.Cart/Get", grpc)).toBe(false);
    },
  ),
  row(
    "rules[].name",
    "MeshHTTPRouteNamedRule: a rule is known by its name where it is counted",
    async (world) => {
      world.route(trafficRoute([{ name: "named", backendRefs: [V2] }]));
      const before = world.metric("isthmus_route_requests_total", 'rule="named"', 'verdict="forwarded"');
      await world.ask("/");
      expect(world.metric("isthmus_route_requests_total", 'rule="named"', 'verdict="forwarded"')).toBe(
        before + 1,
      );
    },
  ),
  row(
    "parentRefs[].name parentRefs[].namespace parentRefs[].kind parentRefs[].group parentRefs[].sectionName",
    "a parent is a service by its local name, of the route's own namespace unless given",
    async (world) => {
      const parent = {
        group: "multicluster.x-k8s.io",
        kind: "ServiceImport",
        namespace: "shop",
        name: "stock",
        sectionName: "http",
      } as const;
      world.route(trafficRoute([{ backendRefs: [V2] }], { spec: { parentRefs: [parent] } }));
      expect((await world.ask("/", { service: "stock.shop" })).echo.backend).toBe("cart-v2");
      expect((await world.ask("/")).echo.backend).toMatch(/^cart-v[12]$/);
      world.route(trafficRoute([{ backendRefs: [{ name: "stock" }] }]));
      expect((await world.ask("/")).echo.backend).toBe("stock");
    },
  ),
  row(
    "parentRefs[].port",
    "HTTPRouteParentRefPort: a port of the parent restricts the route to it",
    async (world) => {
      world.route(
        trafficRoute([{ backendRefs: [{ name: "stock" }] }], {
          spec: { parentRefs: [{ name: "cart", port: 8080 }] },
        }),
      );
      expect((await world.ask("/")).echo.backend).toMatch(/^cart-v[12]$/);
      world.route(
        trafficRoute([{ backendRefs: [{ name: "stock" }] }], {
          spec: { parentRefs: [{ name: "cart", port: 80 }] },
        }),
      );
      expect((await world.ask("/")).echo.backend).toBe("stock");
    },
  ),
  row(
    "hostnames[]",
    "hostnames have no meaning in a mesh: the route holds whatever the request calls its host",
    async (world) => {
      world.route(trafficRoute([{ backendRefs: [V2] }], { spec: { hostnames: ["other.example"] } }));
      expect(await fits(world, "/", { headers: { host: "anything.example" } })).toBe(true);
    },
  ),
  row("mode", "a route that observes is counted and changes nothing", async (world) => {
    const observed = () =>
      world.metric("isthmus_route_requests_total", 'verdict="observed"', 'rule="would-go"');
    world.route(
      trafficRoute([{ name: "would-go", backendRefs: [{ name: "stock" }], fault: { abort: {} } }], {
        spec: { mode: "observe" },
      }),
    );
    const before = observed();
    const { status, echo } = await world.ask("/");
    expect([status, echo.backend]).toEqual([200, expect.stringMatching(/^cart-v[12]$/)]);
    expect(observed()).toBe(before + 1);
    expect(world.member("west agent").log.at(-1)).toMatchObject({
      event: "route_observed",
      rule: "would-go",
    });
  }),
];
