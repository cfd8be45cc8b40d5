import type { AppliedResource } from "../../federation/model/resource.ts";
import { describe, expect, test } from "vitest";
import { applyTo, egressFrom, exportTo } from "../fakes/changes.ts";
import { useScene } from "../fakes/scene.ts";

const IN_FORCE_MS = 1_000;

describe("how soon a change is in force", () => {
  const scene = useScene();

  /** Milliseconds from the registry's acknowledgement until `workload` gets `wanted`. */
  const effect = async (resource: AppliedResource, workload: string, wanted: string): Promise<number> => {
    await applyTo(scene.federation, resource);
    const acknowledged = performance.now();
    await scene.untilCall(wanted, 3_000, workload);
    return performance.now() - acknowledged;
  };

  test("an export that permits one more workload, and one that withdraws it: under 1 s, ten times", async () => {
    expect(await scene.call("batch")).toBe("403 ISTH-2001");
    const took: number[] = [];
    for (let round = 0; round < 10; round++) {
      took.push(await effect(exportTo("web", "batch"), "batch", "200"));
      took.push(await effect(exportTo("web"), "batch", "403 ISTH-2001"));
    }
    expect(Math.max(...took)).toBeLessThan(IN_FORCE_MS);
  });

  test("an egress policy, under 1 s: observing refuses nobody, enforcing refuses whom it does not name", async () => {
    await effect(egressFrom("observe", "batch"), "web", "200");
    const enforced = await effect(egressFrom("enforce", "batch"), "web", "403 ISTH-2002");
    const allowed = await effect(egressFrom("enforce", "web"), "web", "200");
    expect(Math.max(enforced, allowed)).toBeLessThan(IN_FORCE_MS);
  });
});
