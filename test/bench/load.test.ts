import { describe, expect, it } from "vitest";
import { answeredByProxies, halfLoadPauseMs } from "./load.ts";

describe("the loads of the bench", () => {
  it.each([
    [16_000, 8],
    [6_000, 21],
    [1_000_000, 1],
  ])("pause so that 64 connections offer half of %i requests a second: %i ms", (perSecond, pauseMs) => {
    expect(halfLoadPauseMs(perSecond)).toBe(pauseMs);
  });

  it("count what a proxy answered by itself, which by gRPC looks like an answer of the backend", () => {
    const result = { requests: 1_000, seconds: 2, p50Ms: 1, p99Ms: 2, errors: 10 };
    expect(answeredByProxies(result, 700)).toBe(290);
    expect(answeredByProxies(result, 990)).toBe(0);
    // Under way when the run ended.
    expect(answeredByProxies(result, 1_050)).toBe(0);
  });
});
