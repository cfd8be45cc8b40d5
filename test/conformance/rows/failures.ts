import { expect } from "vitest";
import type { RouteFault, RouteRetry } from "../../../federation/model/traffic-route.ts";
import { MAX_COPY_BYTES } from "../../../gateway/dataplane/io/body-copy.ts";
import { breakOff } from "../../fakes/both-http.ts";
import type { Behaviour } from "../../fakes/echo-backend.ts";
import { trafficRoute, type TrafficWorld } from "../../fakes/traffic-world.ts";
import { type Row, row, shares, V1 } from "./row.ts";

const GRPC = { method: "POST", headers: { "content-type": "application/grpc" } };

function faulty(world: TrafficWorld, fault: RouteFault): void {
  world.route(trafficRoute([{ fault, backendRefs: [V1] }]));
}

function retried(world: TrafficWorld, retry: RouteRetry): void {
  world.route(trafficRoute([{ retry: { backoff: "1ms", ...retry }, backendRefs: [V1] }]));
}

/** Fails the first `times` requests in this way. */
function failing(times: number, fail: (...args: Parameters<Behaviour>) => void): Behaviour {
  let left = times;
  return (request, response, echo) => {
    if (left-- <= 0) return false;
    fail(request, response, echo);
    return true;
  };
}

const with503: Parameters<typeof failing>[1] = (_request, response) => void response.writeHead(503).end("no");
const silence: Parameters<typeof failing>[1] = () => {};

function tries(world: TrafficWorld): number {
  return world.backends["cart-v1"].seen.length;
}

async function timed(
  work: () => Promise<{ readonly status: number }>,
): Promise<readonly [status: number, tookMs: number]> {
  const began = performance.now();
  const { status } = await work();
  return [status, performance.now() - began];
}

export const FAILURE_ROWS: readonly Row[] = [
  row(
    "rules[].timeouts.request",
    "HTTPRouteRequestTimeout: 504 when the whole request takes longer",
    async (world) => {
      world.route(trafficRoute([{ timeouts: { request: "100ms" }, backendRefs: [V1] }]));
      world.backends["cart-v1"].behave = failing(1, silence);
      const [status, tookMs] = await timed(() => world.ask("/"));
      expect(status).toBe(504);
      expect(tookMs).toBeGreaterThan(95);
      expect(tookMs).toBeLessThan(1_000);
      expect((await world.ask("/")).status).toBe(200);
    },
  ),
  row(
    "rules[].timeouts.request rules[].timeouts.backendRequest",
    "timeouts may be longer than a timer can wait",
    async (world) => {
      world.route(
        trafficRoute([{ timeouts: { request: "2000h", backendRequest: "720h" }, backendRefs: [V1] }]),
      );
      expect((await world.ask("/")).status).toBe(200);
    },
  ),
  row(
    "rules[].timeouts.backendRequest",
    "HTTPRouteBackendTimeout, HTTPRouteRetryBackendTimeout: each try has its own time",
    async (world) => {
      world.route(trafficRoute([{ timeouts: { backendRequest: "100ms" }, backendRefs: [V1] }]));
      world.backends["cart-v1"].behave = failing(1, silence);
      expect((await timed(() => world.ask("/")))[0]).toBe(504);
      world.backends["cart-v1"].reset();
      const retry = { on: ["timeout"], backoff: "1ms" } as const;
      world.route(
        trafficRoute([{ timeouts: { backendRequest: "100ms", request: "2s" }, retry, backendRefs: [V1] }]),
      );
      world.backends["cart-v1"].behave = failing(1, silence);
      expect((await timed(() => world.ask("/")))[0]).toBe(200);
      expect(tries(world)).toBe(2);
    },
  ),
  row(
    "rules[].retry.codes[] rules[].retry.attempts",
    "HTTPRouteRetry: the statuses that are named, so many times",
    async (world) => {
      retried(world, { codes: [503], attempts: 3 });
      world.backends["cart-v1"].behave = failing(3, with503);
      expect((await world.ask("/")).status).toBe(200);
      expect(tries(world)).toBe(4);
      world.backends["cart-v1"].reset();
      world.backends["cart-v1"].behave = failing(9, with503);
      expect((await world.ask("/")).status).toBe(503);
      expect(tries(world)).toBe(4);
      world.backends["cart-v1"].reset();
      world.backends["cart-v1"].behave = failing(
        9,
        (_request, response) => void response.writeHead(500).end(),
      );
      expect((await world.ask("/")).status).toBe(500);
      expect(tries(world)).toBe(1);
    },
  ),
  row(
    "rules[].retry.grpcCodes[]",
    "gRPC statuses that are named, of a response without messages",
    async (world) => {
      retried(world, { grpcCodes: ["unavailable"], methods: ["POST"] });
      world.backends["cart-v1"].behave = failing(
        1,
        (_request, response) =>
          void response.writeHead(200, { "content-type": "application/grpc", "grpc-status": "14" }).end(),
      );
      expect((await world.ask("/shop.Cart/Add", GRPC)).headers["grpc-status"]).toBeUndefined();
      expect(tries(world)).toBe(2);
    },
  ),
  row(
    "rules[].retry.on[]",
    "HTTPRouteRetryConnectionError: classes of failure, and no other",
    async (world) => {
      const reset: Behaviour = failing(1, (request) => breakOff(request));
      retried(world, { on: ["reset"] });
      world.backends["cart-v1"].behave = reset;
      expect((await world.ask("/")).status).toBe(200);
      retried(world, { on: ["timeout"] });
      world.backends["cart-v1"].reset();
      await world.ask("/", { headers: { connection: "close" } });
      world.backends["cart-v1"].behave = failing(9, (request) => breakOff(request));
      expect((await world.ask("/", { method: "POST", body: "x" })).status).toBe(502);
      expect(tries(world)).toBe(2);
    },
  ),
  row(
    "rules[].retry.methods[]",
    "what may have been executed is repeated only if the method or the rule allows it",
    async (world) => {
      retried(world, { codes: [503] });
      world.backends["cart-v1"].behave = failing(1, with503);
      expect((await world.ask("/", { method: "POST", body: "x" })).status).toBe(503);
      expect(tries(world)).toBe(1);
      retried(world, { codes: [503], methods: ["POST"] });
      world.backends["cart-v1"].reset();
      world.backends["cart-v1"].behave = failing(1, with503);
      const { status, echo } = await world.ask("/", { method: "POST", body: "again" });
      expect([status, echo.body]).toEqual([200, "again"]);
    },
  ),
  row(
    "rules[].retry.codes[]",
    "a body that is too long to be kept is sent once, and the try that does not follow is counted",
    async (world) => {
      retried(world, { codes: [503], methods: ["POST"] });
      const skipped = () => world.metric("isthmus_retries_skipped_total", 'reason="body"');
      const before = skipped();
      world.backends["cart-v1"].behave = failing(1, with503);
      const kept = "k".repeat(MAX_COPY_BYTES);
      const { status, echo } = await world.ask("/", { method: "POST", body: kept });
      expect([status, echo.body === kept, tries(world), skipped()]).toEqual([200, true, 2, before]);
      world.backends["cart-v1"].reset();
      world.backends["cart-v1"].behave = failing(1, with503);
      expect((await world.ask("/", { method: "POST", body: `${kept}+` })).status).toBe(503);
      expect([tries(world), skipped()]).toEqual([1, before + 1]);
    },
  ),
  row(
    "rules[].retry.backoff",
    "pauses grow and have jitter, so that clients do not return in step",
    async (world) => {
      retried(world, { codes: [503], attempts: 4, backoff: "40ms" });
      const took: number[] = [];
      for (let turn = 0; turn < 5; turn++) {
        world.backends["cart-v1"].behave = failing(4, with503);
        took.push((await timed(() => world.ask("/")))[1]);
      }
      // Full jitter over 40 + 80 + 160 + 320 ms.
      expect(Math.max(...took)).toBeLessThan(1_500);
      expect(took.reduce((sum, one) => sum + one, 0) / took.length).toBeGreaterThan(100);
      expect(new Set(took.map(Math.round)).size).toBeGreaterThan(1);
    },
  ),
  row(
    "rules[].retry.budget.percent rules[].retry.budget.interval rules[].retry.budget.minRetryRate.count rules[].retry.budget.minRetryRate.interval",
    "a storm of retries stays within its budget",
    async (world) => {
      const budget = { percent: 20, interval: "10s", minRetryRate: { count: 1, interval: "10s" } };
      world.route(
        trafficRoute([
          {
            name: "budgeted",
            retry: { codes: [503], attempts: 5, backoff: "1ms", budget },
            backendRefs: [V1],
          },
        ]),
      );
      world.backends["cart-v1"].behave = failing(100_000, with503);
      await shares(world, 500);
      expect(tries(world)).toBeGreaterThan(550);
      expect(tries(world)).toBeLessThanOrEqual(601);
      expect(world.metric("isthmus_retries_skipped_total", 'reason="budget"')).toBeGreaterThan(0);
    },
  ),
  row("rules[].fault.delay.fixedDelay rules[].fault.delay.percent", "requests are held up", async (world) => {
    faulty(world, { delay: { fixedDelay: "150ms", percent: 100 } });
    const [status, tookMs] = await timed(() => world.ask("/", { method: "POST", body: "held" }));
    expect(status).toBe(200);
    expect(tookMs).toBeGreaterThan(145);
    faulty(world, { delay: { fixedDelay: "10s", percent: 0 } });
    expect((await timed(() => world.ask("/")))[1]).toBeLessThan(1_000);
  }),
  row(
    "rules[].fault.delay.fraction.numerator rules[].fault.delay.fraction.denominator",
    "a part of the requests is held up",
    async (world) => {
      faulty(world, { delay: { fixedDelay: "60ms", fraction: { numerator: 1, denominator: 2 } } });
      const took = await Promise.all(Array.from({ length: 60 }, () => timed(() => world.ask("/"))));
      const delayed = world.metric("isthmus_route_requests_total", 'verdict="delayed"');
      expect(took.every(([status]) => status === 200)).toBe(true);
      expect(delayed).toBeGreaterThan(10);
    },
  ),
  row(
    "rules[].fault.abort.statusCode rules[].fault.abort.percent rules[].fault.abort.fraction.numerator rules[].fault.abort.fraction.denominator",
    "a part of the requests fails with the status asked for",
    async (world) => {
      faulty(world, { abort: { statusCode: 418, percent: 100 } });
      const { status, headers } = await world.ask("/");
      expect([status, headers["isthmus-code"]]).toEqual([418, "ISTH-3203"]);
      faulty(world, { abort: { fraction: { numerator: 1, denominator: 2 } } });
      const counts = await shares(world, 400);
      expect(counts.get("503")).toBeGreaterThan(130);
      expect(counts.get("503")).toBeLessThan(270);
    },
  ),
  row(
    "rules[].fault.abort.grpcCode",
    "a gRPC request fails with the gRPC status asked for",
    async (world) => {
      faulty(world, { abort: { grpcCode: "resource-exhausted" } });
      const { status, headers } = await world.ask("/shop.Cart/Add", GRPC);
      expect([status, headers["grpc-status"]]).toEqual([200, "8"]);
      expect((await world.ask("/")).status).toBe(503);
    },
  ),
  row("rules[].fault.from[].workload", "only the callers that are named meet the fault", async (world) => {
    faulty(world, { from: [{ workload: "ns/blog/sa/*" }], abort: {} });
    expect((await world.ask("/", { caller: "reader" })).status).toBe(503);
    expect((await world.ask("/", { caller: "web" })).status).toBe(200);
  }),
];
