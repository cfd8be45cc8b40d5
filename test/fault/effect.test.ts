import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { useScene } from "../fakes/scene.ts";

const IN_FORCE_MS = 1_000;

describe("how soon a change is in force", () => {
  const scene = useScene();
  const directory = mkdtempSync(join(tmpdir(), "isthmus-effect-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** Applies the resource; answers the milliseconds until `workload` gets `wanted`. */
  const effect = async (resource: object, workload: string, wanted: string): Promise<number> => {
    const file = join(directory, "change.yaml");
    writeFileSync(file, stringify(resource));
    const applied = await scene.federation.isthmus("apply", "-f", file);
    const acknowledged = performance.now();
    expect(applied, applied.err).toMatchObject({ code: 0 });
    await scene.untilCall(wanted, 3_000, workload);
    return performance.now() - acknowledged;
  };
  const exportTo = (...workloads: string[]) => ({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: { cluster: "east", namespace: "shop", name: "cart" },
    spec: { consumers: [{ cluster: "west", workloads }] },
  });
  const egress = (mode: "observe" | "enforce", workload: string) => ({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "EgressPolicy",
    metadata: { cluster: "west", name: "shopping" },
    spec: { mode, from: [{ workload }], to: [{ service: { namespace: "shop", name: "cart" } }] },
  });

  test("an export that permits one more workload, and one that withdraws it: under 1 s each", async () => {
    expect(await scene.call("batch")).toBe("403 ISTH-2001");
    const granted = await effect(exportTo("ns/shop/sa/web", "ns/shop/sa/batch"), "batch", "200");
    const withdrawn = await effect(exportTo("ns/shop/sa/web"), "batch", "403 ISTH-2001");
    expect(Math.max(granted, withdrawn)).toBeLessThan(IN_FORCE_MS);
  });

  test("an egress policy, under 1 s: observing refuses nobody, enforcing refuses whom it does not name", async () => {
    await effect(egress("observe", "ns/shop/sa/batch"), "web", "200");
    const enforced = await effect(egress("enforce", "ns/shop/sa/batch"), "web", "403 ISTH-2002");
    const allowed = await effect(egress("enforce", "ns/shop/sa/web"), "web", "200");
    expect(Math.max(enforced, allowed)).toBeLessThan(IN_FORCE_MS);
  });
});
