import { join } from "node:path";
import { expect, it } from "vitest";
import { useTempDirs } from "../../../test/fakes/temp-dir.ts";
import type { AppliedResource } from "../../model/resource.ts";
import { fail } from "../failure.ts";
import type { RegistryClient } from "../registry-client.ts";
import { applyFile } from "./applied-file.ts";

const tempDir = useTempDirs();

const exported = (name: string): AppliedResource => ({
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "ServiceExport",
  metadata: { cluster: "east", namespace: "shop", name },
  spec: { consumers: [{ cluster: "west" }] },
});

/** Remembers names only. */
function fakeRegistry(present: Set<string>): RegistryClient {
  return {
    apply: async (resources: readonly AppliedResource[]) => {
      for (const { metadata } of resources) present.add(metadata.name);
      return { ok: true, value: {} };
    },
    delete: async ({ name }: { readonly name: string }) =>
      present.delete(name) ? { ok: true, value: {} } : fail("not_found", name),
  } as unknown as RegistryClient;
}

it("deletes what left the file, and nothing that was never in it", async () => {
  const file = join(tempDir(), "applied.json");
  const present = new Set<string>(["by-hand"]);
  const registry = fakeRegistry(present);
  await applyFile(file, [exported("cart"), exported("orders")], registry);
  expect(await applyFile(file, [exported("cart")], registry)).toMatchObject({ ok: true });
  expect([...present].sort()).toEqual(["by-hand", "cart"]);
  await applyFile(file, [], registry);
  expect([...present]).toEqual(["by-hand"]);
});

it("does not mind what was deleted by hand meanwhile", async () => {
  const file = join(tempDir(), "applied.json");
  const present = new Set<string>();
  const registry = fakeRegistry(present);
  await applyFile(file, [exported("cart")], registry);
  present.clear();
  expect(await applyFile(file, [], registry)).toMatchObject({ ok: true });
});
