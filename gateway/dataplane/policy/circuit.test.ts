import { describe, expect, it } from "vitest";
import { judgeCircuit, UNLIMITED } from "./circuit.ts";

const LIMITS = { maxConnections: 2, maxParallelRequests: 3, maxPendingRequests: 1 };

describe("judgeCircuit", () => {
  it.each([
    ["admits below every bound", { connections: 1, requests: 1, pending: 0 }, false, "admit"],
    [
      "admits with an idle connection at the bound of connections",
      { connections: 2, requests: 1, pending: 0 },
      true,
      "admit",
    ],
    ["lets a request wait for a connection", { connections: 2, requests: 2, pending: 0 }, false, "wait"],
    [
      "refuses when enough wait already",
      { connections: 2, requests: 2, pending: 1 },
      false,
      "maxPendingRequests",
    ],
    [
      "refuses at the bound of requests, idle connection or not",
      { connections: 1, requests: 3, pending: 0 },
      true,
      "maxParallelRequests",
    ],
  ] as const)("%s", (_what, load, hasIdle, verdict) => {
    expect(judgeCircuit(load, LIMITS, hasIdle)).toBe(verdict);
  });

  it("refuses at once where nothing may wait", () => {
    const load = { connections: 2, requests: 2, pending: 0 };
    expect(judgeCircuit(load, { ...LIMITS, maxPendingRequests: 0 }, false)).toBe("maxConnections");
  });

  it("admits everything without limits", () => {
    expect(judgeCircuit({ connections: 1e9, requests: 1e9, pending: 1e9 }, UNLIMITED, false)).toBe("admit");
  });
});
