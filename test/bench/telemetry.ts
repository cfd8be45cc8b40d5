/**
 * What telemetry costs a request at its entry, in one run: off (counters and two readings of the clock), on for a request that
 * is not sampled, and on for one that is (the span alone; its streams of its own come on top). `node test/bench/telemetry.ts`
 */
import { AlwaysOffSampler, AlwaysOnSampler, type Sampler, TracerProvider } from "@opentelemetry/sdk-trace";
import type { RequestView } from "../../gateway/dataplane/routing/request-view.ts";
import type { Tracing } from "../../gateway/dataplane/telemetry/tracing.ts";
import { Entry } from "../../gateway/dataplane/io/entry.ts";
import { RequestRecord } from "../../gateway/dataplane/io/request-record.ts";
import { createTracing } from "../../gateway/process/telemetry/span-maker.ts";
import { entryEnvironment } from "../fakes/entry-environment.ts";
import { CART, id } from "../fakes/rules.ts";
import { bestNs } from "./cpu-time.ts";

const REQUESTS = 300_000;
const ROUNDS = 5;

const VIEW = {
  method: "GET",
  authority: "cart.shop",
  target: "/items?id=1",
  header: () => undefined,
} as unknown as RequestView;

function tracingBy(sampler: Sampler): Tracing {
  return createTracing(new TracerProvider({ sampler, spanProcessors: [] }).getTracer("bench"));
}

function entryWith(tracing: Tracing | undefined): Entry {
  return new Entry(
    { caller: id("west/shop/web"), service: CART, port: 80 },
    entryEnvironment({ now: Date.now, monotonicMs: () => performance.now(), random: Math.random, tracing }),
  );
}

/** Nanoseconds of CPU per request; the best of several rounds, since others use the machine too. */
function measure(tracing: Tracing | undefined): number {
  const entry = entryWith(tracing);
  const target = entry.decideConnection();
  if (target.kind === "refuse") throw new Error(target.problem.detail);
  const record = new RequestRecord(entry);
  return bestNs(ROUNDS, REQUESTS, (requests) => {
    for (let request = 0; request < requests; request++) {
      record.start(VIEW);
      record.toward(target, "");
      record.sent(120);
      record.attempt();
      record.received(180);
      record.answered(200);
      record.end(true);
    }
    return requests;
  });
}

const off = measure(undefined);
const unsampled = measure(tracingBy(new AlwaysOffSampler()));
const sampled = measure(tracingBy(new AlwaysOnSampler()));
for (const [what, ns] of [
  ["off", off],
  ["on, not sampled", unsampled],
  ["on, sampled", sampled],
] as const) {
  process.stdout.write(`${what}: ${ns.toFixed(0)} ns/request, ${(ns / off).toFixed(1)} x off\n`);
}
