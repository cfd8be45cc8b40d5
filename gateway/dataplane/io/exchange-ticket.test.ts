import { describe, expect, it } from "vitest";
import {
  BACKEND,
  CANARY,
  goes,
  guardedEntry,
  OUTLIER,
  ticket,
  withPolicy,
} from "../../../test/fakes/guarded-entry.ts";
import { ticketFor } from "./exchange-ticket.ts";

const ENDPOINT = "0a0a0a0a";

describe("a ticket", () => {
  it("is refused at the circuit's bound, which one that leaves makes room in", () => {
    const scene = withPolicy({ circuit: { maxParallelRequests: 1 } });
    const first = ticket(scene, scene.east);
    expect(ticketFor(scene.guard, scene.east, scene.clock.now)).toMatchObject({ name: "circuit_open" });
    expect(scene.verdicts(BACKEND.name, "circuit_open")).toBe(1);
    // The other cluster has a circuit of its own.
    ticket(scene, scene.north);
    first.leave();
    first.leave();
    expect(scene.guard.destination(scene.east).load.requests).toBe(0);
    ticket(scene, scene.east);
  });

  it("is only counted at the bound of a rule that observes", () => {
    const scene = withPolicy({ circuit: { maxParallelRequests: 1 }, mode: "observe" });
    for (let count = 0; count < 3; count++) ticket(scene, scene.east);
    expect(scene.verdicts(BACKEND.name, "circuit_open", "observe")).toBe(2);
  });

  it.each([
    [499, false],
    [500, true],
    [599, true],
  ])("takes the status %i for a failure of the endpoint: %s", (status, expected) => {
    const scene = withPolicy({ outlier: OUTLIER });
    scene.ready("east", 4, 4);
    for (let count = 0; count < 2; count++) ticket(scene, scene.east).answered(status, ENDPOINT);
    expect(scene.verdicts(BACKEND.name, "ejected")).toBe(expected ? 1 : 0);
    expect(scene.guard.destination(scene.east).isEjected(ENDPOINT, scene.clock.now())).toBe(expected);
  });

  it.each([
    ["upstream_reset", true],
    ["upstream_timeout", true],
    ["upstream_malformed", true],
    ["no_endpoint", false],
    ["endpoint_unreachable", false],
    ["gateway_unreachable", false],
    ["overloaded", false],
    ["draining", false],
    ["export_denied", false],
    ["not_exported", false],
    ["egress_denied", false],
    ["caller_token_invalid", false],
    ["caller_token_expired", false],
  ] as const)("takes %s for the endpoint's doing: %s", (name, expected) => {
    const scene = withPolicy({ outlier: OUTLIER });
    scene.ready("east", 4, 4);
    for (let count = 0; count < 2; count++) ticket(scene, scene.east).failed({ name, detail: "" }, ENDPOINT);
    expect(scene.guard.destination(scene.east).isEjected(ENDPOINT, scene.clock.now())).toBe(expected);
  });

  it("counts an ejection that an observing rule would make, and makes none", () => {
    const scene = withPolicy({ outlier: OUTLIER, mode: "observe" });
    scene.ready("east", 4, 4);
    for (let count = 0; count < 2; count++) ticket(scene, scene.east).answered(503, ENDPOINT);
    expect(scene.verdicts(BACKEND.name, "ejected", "observe")).toBe(1);
    expect(scene.guard.destination(scene.east).isEjected(ENDPOINT, scene.clock.now())).toBe(false);
  });

  it.each([
    ["enforce", [true, false]],
    ["observe", [true, true]],
  ] as const)("asks the budget for retries of a rule, which it %ss", (mode, expected) => {
    const retry = { percent: 0, intervalMs: 10_000, minCount: 1, minIntervalMs: 10_000 };
    const scene = withPolicy({ retry, mode });
    const held = ticket(scene, scene.east);
    expect([held.mayRetry(), held.mayRetry()]).toEqual(expected);
    expect(scene.verdicts(BACKEND.name, "retry_refused", mode)).toBe(1);
  });

  it("has its budget grow with the requests that others make", () => {
    const scene = withPolicy({
      retry: { percent: 50, intervalMs: 10_000, minCount: 0, minIntervalMs: 10_000 },
    });
    const [held] = [1, 2, 3, 4].map(() => ticket(scene, scene.east));
    expect([1, 2, 3].map(() => held?.mayRetry())).toEqual([true, true, false]);
  });

  it("may always retry where no rule has a budget", () => {
    const scene = withPolicy({});
    const held = ticket(scene, scene.east);
    expect([1, 2, 3].every(() => held.mayRetry())).toBe(true);
  });

  it("that goes on elsewhere makes room, and is not measured as the canary's", () => {
    const scene = guardedEntry({ rollouts: [CANARY] });
    expect(goes(scene, scene.east)).toBe("east v2");
    const canary = { ...scene.east, id: "east v2", version: "v2" };
    const [moved, slow, failed] = [1, 2, 3].map(() => ticket(scene, canary));
    moved?.answered(503, undefined);
    moved?.moved();
    moved?.leave();
    slow?.answered(200, undefined);
    slow?.leave();
    failed?.failed({ name: "upstream_reset", detail: "" }, undefined);
    failed?.leave();
    const bad = ticket(scene, canary);
    bad.answered(500, undefined);
    bad.leave();
    // Its client left before anything came.
    ticket(scene, canary).leave();
    expect(scene.guard.canary({ ...scene.east, version: "v1" })).toBeUndefined();
    expect(scene.guard.canary(scene.east)).toBeUndefined();
    expect(scene.guard.canary(canary)?.stats()).toMatchObject({ requests: 3, failures: 2 });
    expect(scene.guard.destination(canary).load.requests).toBe(0);
  });

  it("takes answers that break off for failures in a row", () => {
    const scene = withPolicy({ outlier: OUTLIER });
    scene.ready("east", 4, 4);
    for (let count = 0; count < 2; count++) {
      const held = ticket(scene, scene.east);
      held.answered(200, ENDPOINT);
      held.failed({ name: "upstream_reset", detail: "" }, ENDPOINT);
      held.leave();
    }
    expect(scene.guard.destination(scene.east).isEjected(ENDPOINT, scene.clock.now())).toBe(true);
  });

  it("measures a canary by how its answers ended, and by when their heads came", () => {
    const scene = guardedEntry({ rollouts: [CANARY] });
    const canary = { ...scene.east, id: "east v2", version: "v2" };
    const [brokenOff, late, mended, cancelled] = [1, 2, 3, 4].map(() => ticket(scene, canary));
    brokenOff?.answered(200, undefined);
    brokenOff?.failed({ name: "upstream_reset", detail: "" }, undefined);
    late?.began();
    mended?.answered(503, undefined);
    cancelled?.began();
    scene.clock.advance(1_000);
    late?.answered(500, undefined);
    mended?.answered(200, undefined);
    for (const one of [brokenOff, late, mended, cancelled]) one?.leave();
    const { requests, failures, latency = [] } = scene.guard.canary(canary)?.stats() ?? {};
    expect({ requests, failures }).toEqual({ requests: 4, failures: 2 });
    expect([latency[0], latency.reduce((sum, count) => sum + count, 0)]).toEqual([3, 4]);
  });
});
