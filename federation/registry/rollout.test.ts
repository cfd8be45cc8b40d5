import { describe, expect, it } from "vitest";
import type { CanaryStats, RolloutResource } from "../model/resource.ts";
import type { RolloutProgress, RolloutSpec } from "../model/traffic-policy.ts";
import { advance, command, NO_STATS, percentileMs } from "./rollout.ts";

const TIME = "2026-11-01T00:00:00.000Z";
const STEPS = [
  { setWeight: 10, pause: { duration: "60s" } },
  { setWeight: 50, pause: {} },
  { setWeight: 100 },
];
const ANALYSIS = { successRate: 99, latency: { percentile: 90, max: "100ms" }, minRequests: 100 } as const;

function rollout(progress?: Partial<RolloutProgress>, spec: Partial<RolloutSpec> = {}): RolloutResource {
  const resource = {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Rollout",
    metadata: { cluster: "east", namespace: "shop", name: "cart" },
    spec: {
      targetRef: { kind: "Service", name: "cart" },
      stable: { version: "v1" },
      canary: { version: "v2" },
      steps: STEPS,
      analysis: ANALYSIS,
      ...spec,
    },
  } as const;
  const begun = { phase: "Progressing", step: 0, weight: 10, since: "", message: "", ...progress } as const;
  return progress === undefined ? resource : { ...resource, progress: begun };
}

const GOOD: CanaryStats = { requests: 1_000, failures: 5, latency: [0, 0, 0, 0, 1_000] };
const step = (of: RolloutResource, stats = GOOD, elapsedMs = 60_000) => advance(of, stats, elapsedMs, TIME);

describe("a rollout", () => {
  it("begins at its first step", () => {
    expect(step(rollout(), NO_STATS, 0)).toMatchObject({
      phase: "Progressing",
      step: 0,
      weight: 10,
      since: TIME,
    });
  });

  it("goes on when its pause is over and enough requests were good", () => {
    expect(step(rollout({}))).toMatchObject({ phase: "Paused", step: 1, weight: 50 });
  });

  it.each([
    ["its pause is not over", GOOD, 59_999],
    ["too few requests were seen", { ...GOOD, requests: 99 }, 600_000],
  ])("stays the same object while %s", (_why, stats, elapsedMs) => {
    const standing = rollout({});
    expect(step(standing, stats, elapsedMs)).toBe(standing.progress);
  });

  it("goes on without an analysis as soon as its pause is over", () => {
    const { analysis: _, ...spec } = rollout({}).spec;
    const blind = { ...rollout({}), spec } as RolloutResource;
    expect(advance(blind, NO_STATS, 60_000, TIME)).toMatchObject({ step: 1 });
  });

  it("waits to be promoted where a pause has no duration, and goes back from there as well", () => {
    const waiting = rollout({ phase: "Paused", step: 1, weight: 50 });
    expect(step(waiting)).toBe(waiting.progress);
    expect(step(waiting, { ...GOOD, failures: 11 })).toMatchObject({ phase: "RolledBack", weight: 0 });
  });

  it("goes back when too few requests succeed, at once and with the figure", () => {
    expect(step(rollout({}), { ...GOOD, failures: 11 }, 1)).toEqual({
      phase: "RolledBack",
      step: 0,
      weight: 0,
      since: TIME,
      message: "98.90 % of 1000 requests succeeded, 99 % are demanded",
    });
  });

  it("goes back when the answers are too slow", () => {
    const slow = { ...GOOD, latency: [0, 0, 0, 0, 899, 0, 101] };
    expect(step(rollout({}), slow, 1)).toMatchObject({
      phase: "RolledBack",
      message: "the 90th percentile of the latency is 500 ms, 100ms is the most",
    });
  });

  it("succeeds after its last step, and stays there", () => {
    const last = rollout({ step: 2, weight: 100 });
    const done = step(last);
    expect(done).toMatchObject({ phase: "Succeeded", step: 3, weight: 100 });
    const over = { ...last, progress: done };
    expect(step(over, { ...GOOD, failures: 1_000 })).toBe(done);
  });

  it.each(["RolledBack", "Aborted", "Succeeded"] as const)("stays where it is once it is %s", (phase) => {
    const over = rollout({ phase, weight: 0 });
    expect(step(over)).toBe(over.progress);
  });
});

describe("a rollout that only observes", () => {
  const observing = rollout(undefined, { mode: "observe" });

  it("stays at its first step and says so, whatever is measured and however long it lasts", () => {
    const progress = step(observing, NO_STATS, 0);
    expect(progress).toEqual({
      phase: "Observing",
      step: 0,
      weight: 0,
      since: TIME,
      message: "step 1 of 3: only observes, 10 % would go to the canary",
    });
    const standing = { ...observing, progress };
    expect(step(standing, { ...GOOD, failures: 1_000 }, 600_000)).toBe(progress);
  });

  it.each(["pause", "promote", "abort"] as const)("cannot %s", (action) => {
    const standing = { ...observing, progress: step(observing, NO_STATS, 0) };
    expect(command(standing, action, "anna", TIME)).toMatchObject({
      error: { name: "rollout_state", detail: expect.stringContaining("only observes") },
    });
  });
});

describe("an operator", () => {
  const ask = (of: RolloutResource, action: Parameters<typeof command>[1]) =>
    command(of, action, "anna", TIME);

  it.each([
    [
      "pauses what progresses",
      {},
      "pause",
      { phase: "Paused", step: 0, weight: 10, message: "paused by anna" },
    ],
    ["promotes it to the next step", {}, "promote", { step: 1, weight: 50 }],
    [
      "promotes what waits",
      { phase: "Paused", step: 1 },
      "promote",
      { phase: "Progressing", step: 2, weight: 100 },
    ],
    [
      "lets one go on that was paused by hand, from its step",
      { phase: "Paused", step: 0 },
      "promote",
      { phase: "Progressing", step: 0, weight: 10 },
    ],
    [
      "aborts it",
      { step: 1, weight: 50 },
      "abort",
      { phase: "Aborted", weight: 0, message: "aborted by anna" },
    ],
    [
      "begins anew what went back",
      { phase: "RolledBack", step: 1 },
      "promote",
      { phase: "Progressing", step: 0 },
    ],
  ] as const)("%s", (_what, progress, action, expected) => {
    expect(ask(rollout(progress), action)).toMatchObject({ ok: true, value: expected });
  });

  it.each([
    ["pause", { phase: "Paused" }],
    ["pause", { phase: "Succeeded" }],
    ["promote", { phase: "Succeeded" }],
    ["abort", { phase: "Aborted" }],
  ] as const)("cannot %s one that is %j", (action, progress) => {
    expect(ask(rollout(progress), action)).toMatchObject({ ok: false, error: { name: "rollout_state" } });
  });

  it("cannot steer one that has not begun", () => {
    expect(ask(rollout(), "abort").ok).toBe(false);
  });
});

describe("percentileMs", () => {
  it.each([
    [[], 50, 0],
    [[10], 99, 5],
    [[50, 50], 50, 5],
    [[49, 51], 50, 10],
    [[99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 99, 5],
    [[98, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2], 99, Number.POSITIVE_INFINITY],
  ])("of %j at %d is the bound %d", (latency, percentile, bound) => {
    expect(percentileMs(latency, percentile)).toBe(bound);
  });
});
