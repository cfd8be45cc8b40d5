import { expect } from "vitest";
import { trafficRoute } from "../../fakes/traffic-world.ts";
import { type Row, row, shares, V1, V2 } from "./row.ts";

const FULL = { group: "", kind: "Service", namespace: "shop", port: 80 } as const;

export const BACKEND_ROWS: readonly Row[] = [
  row(
    "rules[].backendRefs[].name rules[].backendRefs[].namespace rules[].backendRefs[].kind rules[].backendRefs[].group",
    "requests go to another service",
    async (world) => {
      world.route(trafficRoute([{ backendRefs: [{ ...FULL, name: "stock" }] }]));
      expect((await world.ask("/")).echo.backend).toBe("stock");
    },
  ),
  row("rules[].backendRefs[].port", "a port that the backend does not have is refused", async (world) => {
    world.route(trafficRoute([{ backendRefs: [{ name: "stock", port: 81 }] }]));
    expect((await world.ask("/")).status).toBe(404);
  }),
  row("rules[].backendRefs[].version", "requests go to one version of the service", async (world) => {
    for (const backend of [V1, V2]) {
      world.route(trafficRoute([{ backendRefs: [backend] }]));
      expect((await shares(world, 20)).get(`cart-${backend.version}`)).toBe(20);
    }
  }),
  row(
    "rules[].backendRefs[].cluster",
    "requests go to one cluster of several, the caller's own among them",
    async (world) => {
      const everywhere = { parentRefs: [{ name: "everywhere" }] };
      for (const [cluster, expected] of [
        ["east", /^cart-v/],
        ["west", /^west-cart$/],
      ] as const) {
        world.route(trafficRoute([{ backendRefs: [{ name: "everywhere", cluster }] }], { spec: everywhere }));
        for (let turn = 0; turn < 10; turn++)
          expect((await world.ask("/", { service: "everywhere.shop" })).echo.backend).toMatch(expected);
      }
    },
  ),
  row(
    "rules[].backendRefs[].weight",
    "MeshHTTPRouteWeight: requests are split as the weights say, 0 meaning none",
    async (world) => {
      world.route(
        trafficRoute([
          {
            backendRefs: [
              { ...V1, weight: 70 },
              { ...V2, weight: 30 },
              { name: "stock", weight: 0 },
            ],
          },
        ]),
      );
      const counts = await shares(world, 1_000);
      expect(Math.abs((counts.get("cart-v1") ?? 0) - 700)).toBeLessThanOrEqual(10);
      expect(Math.abs((counts.get("cart-v2") ?? 0) - 300)).toBeLessThanOrEqual(10);
      expect(counts.get("stock")).toBeUndefined();
    },
  ),
];
