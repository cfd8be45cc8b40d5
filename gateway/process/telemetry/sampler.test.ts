import { ROOT_CONTEXT, trace } from "@opentelemetry/api";
import { expect, it } from "vitest";
import { FewPerSecond } from "./sampler.ts";

const SAMPLED = 2;
const parent = (traceFlags: number) =>
  trace.setSpanContext(ROOT_CONTEXT, { traceId: "1".repeat(32), spanId: "2".repeat(16), traceFlags });
const sampledOf = (sampler: FewPerSecond, times: number, context = ROOT_CONTEXT): number =>
  Array.from({ length: times }, () => sampler.shouldSample(context).decision).filter(
    (decision) => decision === SAMPLED,
  ).length;

it("samples the first ten new traces of every second", () => {
  let now = 0;
  const sampler = new FewPerSecond(() => now);
  expect(sampledOf(sampler, 1_000)).toBe(10);
  now = 999;
  expect(sampledOf(sampler, 10)).toBe(0);
  now = 1_000;
  expect(sampledOf(sampler, 10)).toBe(10);
});

it("does what the caller decided, up to a bound", () => {
  const sampler = new FewPerSecond(() => 0);
  expect(sampledOf(sampler, 100, parent(0))).toBe(0);
  expect(sampledOf(sampler, 1_000, parent(1))).toBe(200);
  expect(sampledOf(sampler, 5)).toBe(5);
});
