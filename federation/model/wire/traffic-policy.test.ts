import { describe, expect, it } from "vitest";
import { decodeAppliedResource } from "./resource.ts";

function paths(spec: object): readonly string[] {
  const decoded = decodeAppliedResource({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "BackendTrafficPolicy",
    metadata: { cluster: "west", namespace: "shop", name: "cart" },
    spec: { targetRefs: [{ kind: "ServiceImport", name: "cart" }], ...spec },
  });
  return decoded.ok ? [] : decoded.error.map(({ path }) => path);
}

describe("a BackendTrafficPolicy", () => {
  it.each([
    [
      "counts retries over no time",
      { retryConstraint: { budget: { interval: "0s" } } },
      "spec.retryConstraint.budget.interval",
    ],
    [
      "allows retries in no time",
      { retryConstraint: { minRetryRate: { interval: "0ms" } } },
      "spec.retryConstraint.minRetryRate.interval",
    ],
    [
      "frames answers by the session's header",
      { sessionPersistence: { type: "Header", sessionName: "Transfer-Encoding" } },
      "spec.sessionPersistence.sessionName",
    ],
  ])("that %s is refused", (_what, spec, path) => {
    expect(paths(spec)).toEqual([path]);
  });

  it("may name a cookie as it likes, and count over seconds", () => {
    expect(paths({ sessionPersistence: { sessionName: "Upgrade" } })).toEqual([]);
    const retryConstraint = { budget: { interval: "1s" }, minRetryRate: { interval: "100ms" } };
    expect(paths({ retryConstraint })).toEqual([]);
  });
});
