import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { RouteRule } from "../../federation/model/traffic-route.ts";
import { dialRaw } from "../fakes/raw-socket.ts";
import { type Protocol, startTrafficWorld, trafficRoute, type TrafficWorld } from "../fakes/traffic-world.ts";
import { until } from "../fakes/until.ts";
import { shares, V1, V2 } from "./rows/row.ts";

/** Behaviour of the Gateway API's mesh conformance tests that is no single field, by their names. */

let world: TrafficWorld;
function useWorld(protocol: Protocol): void {
  beforeAll(async () => {
    world = await startTrafficWorld({ protocol });
  }, 30_000);
  afterAll(() => world.stop());
  beforeEach(() => {
    for (const backend of Object.values(world.backends)) backend.reset();
    world.route();
  });
}

const STOCK = { name: "stock" };

async function reached(path: string, ask?: Parameters<TrafficWorld["ask"]>[1]): Promise<string> {
  const { status, headers } = await world.ask(path, ask);
  return status === 200 ? String(headers["x-backend"]) : String(status);
}

/** Many requests without a client's cost for each: how many of them each backend answered. */
async function pipelined(address: string, total: number): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>();
  const lanes = 16;
  const perLane = total / lanes;
  const lane = async (): Promise<void> => {
    const client = await dialRaw(address);
    const request = "GET / HTTP/1.1\r\nHost: cart.shop\r\n";
    client.send(`${`${request}\r\n`.repeat(perLane - 1)}${request}Connection: close\r\n\r\n`);
    await client.isGone(110_000);
    for (const [, name = ""] of client.text.matchAll(/\r\nx-backend: (\S+)/g))
      counts.set(name, (counts.get(name) ?? 0) + 1);
    client.destroy();
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return counts;
}

describe.each(["HTTP/1.1", "HTTP/2"] as const)("Gateway API mesh conformance, by %s", (protocol) => {
  useWorld(protocol);

  it("MeshBasic: without a route requests go to the service", async () => {
    expect(await reached("/")).toMatch(/^cart-v[12]$/);
  });

  it("MeshTrafficSplit, MeshHTTPRouteWeight: within 1 percentage point over 20,000 requests", async () => {
    world.route(
      trafficRoute([
        {
          backendRefs: [
            { ...V1, weight: 70 },
            { ...V2, weight: 20 },
            { ...STOCK, weight: 10 },
          ],
        },
      ]),
    );
    // node:http2 costs many times what a raw pipeline does: a tenth of the requests, by the same sequence of draws.
    const total = protocol === "HTTP/1.1" ? 20_000 : 2_000;
    const counts = await (protocol === "HTTP/1.1"
      ? pipelined(world.address("web"), total)
      : shares(world, total));
    const percent = (name: string) => ((counts.get(name) ?? 0) / total) * 100;
    expect(Math.abs(percent("cart-v1") - 70)).toBeLessThan(1);
    expect(Math.abs(percent("cart-v2") - 20)).toBeLessThan(1);
    expect(Math.abs(percent("stock") - 10)).toBeLessThan(1);
  }, 120_000);

  it("MeshHTTPRouteSimpleSameNamespace: a route beside its service holds for callers of every namespace", async () => {
    world.route(trafficRoute([{ backendRefs: [STOCK] }]));
    expect(await reached("/", { caller: "web" })).toBe("stock");
    expect(await reached("/", { caller: "reader" })).toBe("stock");
  });

  it("MeshPorts: each port of a service leads to what stands behind it, and a route holds for the ports it names", async () => {
    expect(await reached("/", { service: "stock.shop" })).toBe("stock");
    expect(await reached("/", { service: "stock.shop", port: 8080 })).toBe("cart-v2");
    const parentRefs = [{ name: "stock", port: 8080 }];
    world.route(trafficRoute([{ backendRefs: [{ ...V1, port: 80 }] }], { spec: { parentRefs } }));
    expect(await reached("/", { service: "stock.shop" })).toBe("stock");
    expect(await reached("/", { service: "stock.shop", port: 8080 })).toBe("cart-v1");
  });

  it("MeshFrontend, MeshFrontendHostname: a route holds where its service is called, by whatever host, and nowhere else", async () => {
    const responseHeaderModifier = { set: [{ name: "x-route", value: "yes" }] };
    world.route(trafficRoute([{ filters: [{ type: "ResponseHeaderModifier", responseHeaderModifier }] }]));
    const marked = async (service: string, host: string) =>
      (await world.ask("/", { service, headers: { host } })).headers["x-route"] === "yes";
    expect(await marked("cart.shop", "cart.shop")).toBe(true);
    expect(await marked("cart.shop", "stock.shop")).toBe(true);
    expect(await marked("stock.shop", "cart.shop")).toBe(false);
    // The same workloads by another name.
    expect(await marked("everywhere.shop", "cart.shop")).toBe(false);
  });

  it("MeshConsumerRoute: a route of another namespace holds for callers of that namespace, and replaces the others for them", async () => {
    const consumer = trafficRoute([{ backendRefs: [{ ...STOCK, namespace: "shop" }] }], {
      namespace: "blog",
      spec: { parentRefs: [{ namespace: "shop", name: "cart" }] },
    });
    const producer = trafficRoute([{ matches: [{ path: { value: "/x" } }], backendRefs: [V2] }]);
    world.route(consumer, producer);
    expect(await reached("/x", { caller: "reader" })).toBe("stock");
    expect(await reached("/x", { caller: "web" })).toBe("cart-v2");
    expect(await reached("/", { caller: "web" })).toBe("404");
  });

  it("a route of the service's owner holds in the cluster that imports it, and its own routes go before", async () => {
    world.route(trafficRoute([{ backendRefs: [V2] }], { cluster: "east" }));
    expect(await reached("/")).toBe("cart-v2");
    world.route(
      trafficRoute([{ backendRefs: [V2] }], { cluster: "east" }),
      trafficRoute([{ backendRefs: [V1] }], { name: "ours" }),
    );
    expect(await reached("/")).toBe("cart-v1");
    world.route(
      trafficRoute([{ backendRefs: [V2] }], { cluster: "east", spec: { parentRefs: [{ name: "cart" }] } }),
    );
    expect(await reached("/", { service: "everywhere.shop" })).toBe("west-cart");
  });

  it("MeshHTTPRouteMatching: the most specific rule wins, whatever the order", async () => {
    const rules: readonly RouteRule[] = [
      { backendRefs: [V1] },
      {
        matches: [{ path: { value: "/v2" } }, { headers: [{ name: "version", value: "two" }] }],
        backendRefs: [V2],
      },
      { matches: [{ path: { type: "Exact", value: "/v2/exact" } }], backendRefs: [STOCK] },
    ];
    for (const order of [rules, [...rules].reverse()]) {
      world.route(trafficRoute(order));
      expect(await reached("/")).toBe("cart-v1");
      expect(await reached("/v2example")).toBe("cart-v1");
      expect(await reached("/v2/example")).toBe("cart-v2");
      expect(await reached("/", { headers: { version: "two" } })).toBe("cart-v2");
      expect(await reached("/v2/exact")).toBe("stock");
    }
  });

  it("requests that no rule fits are answered 404, those of a missing backend 500 for its share", async () => {
    world.route(trafficRoute([{ matches: [{ path: { value: "/only" } }], backendRefs: [V1] }]));
    const unmatched = await world.ask("/other");
    expect([unmatched.status, unmatched.headers["isthmus-code"]]).toEqual([404, "ISTH-3201"]);
    const conditions = world.route(trafficRoute([{ backendRefs: [V1, { name: "cart", version: "v9" }] }]));
    expect(conditions).toContain("ResolvedRefs False BackendNotFound");
    const { "cart-v1": served = 0, ...others } = Object.fromEntries(await shares(world, 100));
    // Of a hundred draws a half is missed by two at most: entry-dice.test.ts.
    expect(Math.abs(served - 50)).toBeLessThanOrEqual(2);
    expect(others).toEqual({ 500: 100 - served });
  });

  it("a route gives a caller nothing that its owner does not permit", async () => {
    world.route(trafficRoute([{ backendRefs: [V1] }], { spec: { parentRefs: [{ name: "stock" }] } }));
    expect(await reached("/", { caller: "web", service: "stock.shop" })).toBe("cart-v1");
    const denied = await world.ask("/", { caller: "batch", service: "stock.shop" });
    expect([denied.status, denied.headers["isthmus-code"]]).toEqual([403, "ISTH-2001"]);
  });
});

describe.each(["HTTP/1.1", "HTTP/2"] as const)(
  "bounds of what mirrors and retries may cost, by %s",
  (protocol) => {
    useWorld(protocol);
    const big = "x".repeat(70_000);

    it("a body beyond the limit is not kept: it is neither retried nor mirrored, and that is counted", async () => {
      const mirror = { type: "RequestMirror", requestMirror: { backendRef: V2 } } as const;
      world.route(
        trafficRoute([{ filters: [mirror], retry: { codes: [503], methods: ["POST"] }, backendRefs: [V1] }]),
      );
      world.backends["cart-v1"].behave = (_request, response) => {
        response.writeHead(503).end();
        return true;
      };
      const skipped = () => [
        world.metric("isthmus_retries_skipped_total", 'reason="body"'),
        world.metric("isthmus_mirrored_requests_total", 'outcome="body too long"'),
      ];
      const [retries = 0, mirrors = 0] = skipped();
      expect((await world.ask("/", { method: "POST", body: big })).status).toBe(503);
      expect(world.backends["cart-v1"].seen).toHaveLength(1);
      expect(skipped()).toEqual([retries + 1, mirrors + 1]);
      expect(world.backends["cart-v2"].seen).toHaveLength(0);
    });

    it("a mirror that never answers slows nothing", async () => {
      const mirror = { type: "RequestMirror", requestMirror: { backendRef: STOCK } } as const;
      world.route(trafficRoute([{ filters: [mirror], backendRefs: [V1] }]));
      world.backends.stock.behave = () => true;
      const began = performance.now();
      for (let turn = 0; turn < 50; turn++) expect((await world.ask("/")).status).toBe(200);
      expect(performance.now() - began).toBeLessThan(5_000);
      await until("the copies arrive", 5_000, () =>
        world.backends.stock.seen.length === 50 ? true : undefined,
      );
    });

    it("a mirror that reads nothing slows nothing: copies beyond 256 are left out and counted", async () => {
      const mirror = { type: "RequestMirror", requestMirror: { backendRef: STOCK } } as const;
      world.route(trafficRoute([{ filters: [mirror], backendRefs: [V1] }]));
      world.backends.stock.stalls = true;
      const outcome = (name: string) => world.metric("isthmus_mirrored_requests_total", `outcome="${name}"`);
      const before = [outcome("sent"), outcome("too many")] as const;
      const body = "x".repeat(32_000);
      const lane = async (): Promise<void> => {
        for (let turn = 0; turn < 40; turn++)
          expect((await world.ask("/", { method: "POST", body })).status).toBe(200);
      };
      await Promise.all(Array.from({ length: 8 }, lane));
      const sent = outcome("sent") - before[0];
      expect(sent).toBeLessThanOrEqual(256);
      expect(outcome("too many") - before[1]).toBe(320 - sent);
    });
  },
);

describe("bounds of what faults and timeouts may cost", () => {
  useWorld("HTTP/1.1");

  it("a client that leaves while a fault holds its request is forgotten at once", async () => {
    world.route(trafficRoute([{ fault: { delay: { fixedDelay: "1s" } }, backendRefs: [V1] }]));
    const client = await dialRaw(world.address("web"));
    client.send("GET / HTTP/1.1\r\nHost: cart.shop\r\n\r\n");
    await until("the request is held", 5_000, () =>
      world.metric("isthmus_route_requests_total", 'verdict="delayed"') > 0 ? true : undefined,
    );
    client.socket.resetAndDestroy();
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    expect(world.backends["cart-v1"].seen).toHaveLength(0);
  });

  it("a response that has begun when its time is over is broken off, so that it does not look complete", async () => {
    world.route(trafficRoute([{ timeouts: { request: "200ms" }, backendRefs: [V1] }]));
    world.backends["cart-v1"].behave = (_request, response) => {
      response.writeHead(200, { "content-length": "100" }).write("half");
      return true;
    };
    const client = await dialRaw(world.address("web"));
    client.send("GET / HTTP/1.1\r\nHost: cart.shop\r\n\r\n");
    await client.receives("half");
    await until("the connection is reset", 5_000, () => (client.closed ? true : undefined));
    expect(client.reset).toBe(true);
  });
});
