import { describe, expect, test } from "vitest";
import { tally } from "../fakes/load.ts";
import { goesOn, useScene } from "../fakes/scene.ts";

const REGISTRY = { role: "registry" } as const;

describe("when the registry is lost", () => {
  const scene = useScene();

  test("kill -9 of it under load fails no request", async () => {
    const load = await scene.load();
    const before = scene.federation.signal(REGISTRY, "SIGKILL");
    await scene.federation.returned(REGISTRY, before);
    await goesOn(load, 5_000);
    const { failed } = await load.stop();
    expect(tally(failed)).toEqual({});
  });

  test("a write that was acknowledged is there after kill -9", async () => {
    const acknowledged = await scene.federation.isthmus("cluster", "register", "north");
    const before = scene.federation.signal(REGISTRY, "SIGKILL");
    expect(acknowledged, acknowledged.err).toMatchObject({ code: 0 });
    await scene.federation.returned(REGISTRY, before);
    const clusters = await scene.federation.isthmus("cluster", "list", "-o", "json");
    expect(clusters.out).toContain('"north"');
  });

  test("gateways and agents that restart meanwhile serve from the last good snapshot", async () => {
    // Stopped, not killed: it takes connections and never answers, which is the harder case.
    scene.federation.signal(REGISTRY, "SIGSTOP");
    try {
      for (const role of ["gateway", "agent"] as const) {
        for (const cluster of ["east", "west"]) {
          const before = scene.federation.signal({ role, cluster }, "SIGKILL");
          await scene.federation.returned({ role, cluster }, before);
        }
      }
      await scene.untilCall("200", 2_000);
      expect(await scene.call("batch")).toBe("403 ISTH-2001");
    } finally {
      scene.federation.signal(REGISTRY, "SIGCONT");
    }
  });
});
