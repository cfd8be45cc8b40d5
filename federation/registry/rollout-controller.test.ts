import { describe, expect, it } from "vitest";
import { exportOf, importOf, memberReport, openRegistryScene } from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import type { AppliedResource, Condition, RolloutResource } from "../model/resource.ts";

const directory = useTempDirs();

const ROLLOUT = {
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "Rollout",
  metadata: { cluster: "east", namespace: "shop", name: "cart-v2" },
  spec: {
    targetRef: { kind: "Service", name: "cart" },
    stable: { version: "v1" },
    canary: { version: "v2" },
    steps: [
      { setWeight: 10, pause: { duration: "30s" } },
      { setWeight: 50, pause: { duration: "30s" } },
    ],
    analysis: { successRate: 99, minRequests: 50 },
  },
} as const satisfies AppliedResource;

/** East owns cart, west calls it; the rollout is east's. */
async function scene(path = directory(), versions: readonly string[] = ["v1", "v2"]) {
  const opened = await openRegistryScene({ directory: path });
  const east = await opened.join("east");
  const west = await opened.join("west");
  await opened.reportVersions(east, "cart", ...versions);
  await opened.apply(exportOf("east", "cart", "west"), importOf("west", "cart", "east"), ROLLOUT);
  let sequence = 0;
  let requests = 0;
  let failures = 0;
  const progress = () => {
    const rule = [
      ...(opened.registry.state.clusters.get("east")?.rules.values() ?? []),
    ][0] as RolloutResource;
    return rule.progress;
  };
  return {
    ...opened,
    progress,
    east,
    rollout: async () => (await opened.snapshot(west)).rules?.rollouts[0],
    weight: async () => (await opened.snapshot(west)).rules?.rollouts[0]?.weight,
    async report(more: { readonly requests: number; readonly failures?: number }) {
      requests += more.requests;
      failures += more.failures ?? 0;
      const canaries = [{ name: "east/shop/cart-v2", requests, failures, latency: [requests] }];
      const report = memberReport({ role: "agent", canaries });
      await opened.registry.reportMember("west", "west", "gateway-1", { report, sequence: ++sequence });
      await opened.registry.rollouts.look();
    },
    async later(ms: number) {
      await opened.clock.advanceAsync(ms);
      await opened.registry.rollouts.look();
    },
    act: (action: string, dryRun = false) =>
      opened.send("POST", `/v1/rollouts/east/shop/cart-v2/${action}${dryRun ? "?dryRun=true" : ""}`),
  };
}

describe("the controller of rollouts", () => {
  it("begins a rollout when it is applied, in the snapshots of the consumers", async () => {
    const { progress, weight } = await scene();
    expect(progress()).toMatchObject({ phase: "Progressing", step: 0, weight: 10 });
    expect(await weight()).toBe(10);
  });

  it("waits for its versions, and sends nobody to a stable one that is not there", async () => {
    const { progress, rollout, east, reportVersions, apply, later } = await scene(undefined, ["v1.0"]);
    expect([progress(), await rollout()]).toEqual([undefined, undefined]);
    expect((await apply(ROLLOUT)).json).toMatchObject({
      results: [
        {
          conditions: [
            {
              type: "Ready",
              status: "False",
              reason: "VersionNotFound",
              message: "cart.shop has no version v1, only v1.0",
            },
            { type: "Progressing", status: "Unknown" },
          ],
        },
      ],
    });
    await reportVersions(east, "cart", "v1");
    await later(1_000);
    expect(progress()).toBeUndefined();
    expect(await rollout()).toMatchObject({ stable: "v1", weight: 0 });
    await reportVersions(east, "cart", "v1", "v2");
    await later(1_000);
    expect(progress()).toMatchObject({ phase: "Progressing", step: 0, weight: 10 });
    expect(await rollout()).toMatchObject({ weight: 10 });
  });

  it("lets one that observes stand at its first step, and begins anew once it is in force", async () => {
    const { apply, progress, rollout, later } = await scene();
    await apply({ ...ROLLOUT, spec: { ...ROLLOUT.spec, mode: "observe" } });
    expect(await rollout()).toEqual(expect.objectContaining({ weight: 10, mode: "observe" }));
    await later(60_000);
    expect(progress()).toMatchObject({ phase: "Observing", step: 0, weight: 0 });
    await apply(ROLLOUT);
    expect(progress()).toMatchObject({ phase: "Progressing", step: 0, weight: 10 });
    expect(await rollout()).not.toHaveProperty("mode");
  });

  it("misses the version that it went away from no more", async () => {
    const { east, reportVersions, apply, act, later } = await scene();
    const ready = async () => {
      const { results } = (await apply(ROLLOUT)).json as {
        readonly results: readonly [{ readonly conditions: readonly Condition[] }];
      };
      return results[0].conditions.find(({ type }) => type === "Ready")?.message;
    };
    await reportVersions(east, "cart", "v2");
    expect(await ready()).toBe("cart.shop has no version v1, only v2");
    await act("promote");
    await act("promote");
    await later(1_000);
    expect(await ready()).toBe("every service that it names is there");
  });

  it("goes step by step to its end while the measures are good", async () => {
    const { progress, report, later, weight } = await scene();
    await report({ requests: 0 });
    await report({ requests: 100 });
    await later(31_000);
    expect(progress()).toMatchObject({ step: 1, weight: 50 });
    await report({ requests: 100 });
    await later(31_000);
    expect(progress()).toMatchObject({ phase: "Succeeded", weight: 100 });
    expect(await weight()).toBe(100);
  });

  it("goes back by itself when the canary fails", async () => {
    const { progress, report, weight } = await scene();
    await report({ requests: 0 });
    await report({ requests: 100, failures: 2 });
    expect(progress()).toMatchObject({ phase: "RolledBack", weight: 0 });
    expect(await weight()).toBe(0);
  });

  it("does not go on by what was measured before its step began", async () => {
    const { progress, report, later } = await scene();
    await report({ requests: 0 });
    await report({ requests: 1_000 });
    await later(31_000);
    await later(31_000);
    expect(progress()).toMatchObject({ step: 1, phase: "Progressing" });
  });

  it("stands still while no registry runs, and its pause begins anew", async () => {
    const path = directory();
    const first = await scene(path);
    await first.report({ requests: 0 });
    await first.report({ requests: 100 });
    await first.later(29_000);
    await first.registry.close();
    const second = await openRegistryScene({ directory: path });
    second.clock.advance(3_600_000);
    await second.registry.rollouts.look();
    const rule = [
      ...(second.registry.state.clusters.get("east")?.rules.values() ?? []),
    ][0] as RolloutResource;
    expect(rule.progress).toMatchObject({ phase: "Progressing", step: 0, weight: 10 });
    await second.registry.close();
  });

  it("does what an operator asks for, and says what it would do", async () => {
    const { progress, act } = await scene();
    expect((await act("promote", true)).json).toMatchObject({
      dryRun: true,
      progress: { step: 1, weight: 50 },
    });
    expect(progress()).toMatchObject({ step: 0 });
    expect((await act("pause")).status).toBe(200);
    expect(progress()).toMatchObject({ phase: "Paused", step: 0 });
    expect((await act("abort")).json).toMatchObject({ progress: { phase: "Aborted", weight: 0 } });
    const refused = await act("pause");
    expect([refused.status, refused.json]).toMatchObject([409, { code: "ISTH-5392" }]);
    expect((await act("dance")).status).toBe(400);
  });

  it("begins anew when its spec changes, and not when it is applied as it is", async () => {
    const { progress, apply, act } = await scene(undefined, ["v1", "v2", "v3"]);
    await act("abort");
    await apply(ROLLOUT);
    expect(progress()).toMatchObject({ phase: "Aborted" });
    await apply({ ...ROLLOUT, spec: { ...ROLLOUT.spec, canary: { version: "v3" } } });
    expect(progress()).toMatchObject({ phase: "Progressing", step: 0, weight: 10 });
  });
});
