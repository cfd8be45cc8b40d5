import { describe, expect, it } from "vitest";
import { PROBLEMS, type ProblemName } from "../../../federation/model/problem.ts";
import type { CompiledRetry } from "../routing/compile-rule.ts";
import { failureClass, isIdempotent, isUntouched, mayRepeat, retryPauseMs } from "./retry.ts";

const RETRY: CompiledRetry = {
  attempts: 3,
  codes: new Set(),
  grpcCodes: new Set(),
  on: new Set(),
  methods: new Set(),
  backoffMs: 100,
  budget: { percent: 20, intervalMs: 10_000, minPerInterval: 3 },
};

describe("what may be sent again", () => {
  it.each([
    ["connect-failure", true],
    ["refused-stream", true],
    ["reset", false],
    ["timeout", false],
  ] as const)("%s: whatever its method, since nothing was executed: %s", (failure, untouched) => {
    expect(isUntouched(failure)).toBe(untouched);
  });

  it.each([
    ["GET", true],
    ["HEAD", true],
    ["OPTIONS", true],
    ["PUT", true],
    ["DELETE", true],
    ["POST", false],
    ["PATCH", false],
    ["CONNECT", false],
    ["QUERY", false],
    ["get", false],
    ["", false],
  ])("%s is idempotent: %s", (method, expected) => {
    expect(isIdempotent(method)).toBe(expected);
    expect(mayRepeat(RETRY, method)).toBe(expected);
  });

  it("is also what the rule names, and nothing beside it", () => {
    const rule = { ...RETRY, methods: new Set(["POST"]) };
    expect(["POST", "PATCH", "GET"].map((method) => mayRepeat(rule, method))).toEqual([true, false, true]);
  });

  it("is never a request that another try would find refused as well", () => {
    const repeatable = (Object.keys(PROBLEMS) as ProblemName[]).filter((name) => failureClass(name));
    expect(Object.fromEntries(repeatable.map((name) => [name, failureClass(name)]))).toEqual({
      draining: "refused-stream",
      gateway_unreachable: "connect-failure",
      endpoint_unreachable: "connect-failure",
      no_endpoint: "connect-failure",
      overloaded: "connect-failure",
      circuit_open: "connect-failure",
      upstream_reset: "reset",
      upstream_timeout: "timeout",
    });
  });
});

describe("the pause before a try", () => {
  it("doubles from one to the next, is cut at ten seconds, and any part of it is drawn", () => {
    expect([1, 2, 3, 7, 8, 60].map((retry) => retryPauseMs(RETRY, retry, 1))).toEqual([
      100, 200, 400, 6_400, 10_000, 10_000,
    ]);
    expect(retryPauseMs(RETRY, 3, 0.25)).toBe(100);
    expect(retryPauseMs(RETRY, 3, 0)).toBe(0);
  });
});
