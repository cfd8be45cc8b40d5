import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startTrafficWorld, trafficRoute, type TrafficWorld } from "../fakes/traffic-world.ts";

/** A service that the caller's own cluster has as well: its endpoints are reached without leaving the cluster. */
describe.each([{ agents: false }, { agents: true }])(
  "a backend of the own cluster, agents: $agents",
  ({ agents }) => {
    let world: TrafficWorld;
    beforeAll(async () => {
      world = await startTrafficWorld({ agents });
    }, 30_000);
    afterAll(() => world.stop());
    beforeEach(() => {
      for (const backend of Object.values(world.backends)) backend.reset();
      world.route();
    });

    const ask = (path = "/", method = "GET", body?: string) =>
      world.ask(path, { service: "everywhere.shop", method, ...(body === undefined ? {} : { body }) });
    const routed = (...backends: readonly object[]) =>
      world.route(
        trafficRoute([{ backendRefs: backends.map((backend) => ({ name: "everywhere", ...backend })) }], {
          spec: { parentRefs: [{ name: "everywhere" }] },
        }),
      );

    it("comes first, and takes requests with bodies one after the other", async () => {
      for (let turn = 0; turn < 5; turn++) {
        const { echo } = await ask(`/${turn}`, "POST", "x".repeat(turn * 40_000));
        expect([echo.backend, echo.url, echo.body.length]).toEqual(["west-cart", `/${turn}`, turn * 40_000]);
      }
    });

    it("is one of several that share the requests as a rule says", async () => {
      routed({ cluster: "west" }, { cluster: "east", version: "v2" });
      const seen = new Set<string>();
      for (let turn = 0; turn < 12; turn++) seen.add((await ask()).echo.backend);
      expect([...seen].sort()).toEqual(["cart-v2", "west-cart"]);
    });

    it("is known by its version", async () => {
      routed({ version: "local" });
      expect((await ask()).echo.backend).toBe("west-cart");
      expect(routed({ cluster: "west", version: "v1" })).toContain("ResolvedRefs False BackendNotFound");
      expect((await ask()).status).toBe(500);
    });

    it("that does not accept connections is told from one that is not there", async () => {
      routed({ cluster: "west" });
      await world.backends["west-cart"].stop();
      const { status, headers } = await ask();
      expect([status, headers["isthmus-code"]]).toEqual([503, "ISTH-3004"]);
    });
  },
);
