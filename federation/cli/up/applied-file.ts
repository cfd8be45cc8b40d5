import { readFile, writeFile } from "node:fs/promises";
import type { AppliedKind, AppliedResource } from "../../model/resource.ts";
import { type Failure, fail } from "../failure.ts";
import { ok, type Result } from "../../model/result.ts";
import { applyInLots } from "../apply-lots.ts";
import type { RegistryClient } from "../registry-client.ts";

type Reference = Parameters<RegistryClient["delete"]>[0];

/**
 * What `up` applied from its file, kept beside the state. When the file changes, what left it is deleted; what somebody applied
 * by other means is nobody's business here and stays.
 */
export async function applyFile(
  file: string,
  resources: readonly AppliedResource[],
  registry: RegistryClient,
): Promise<Result<void, Failure>> {
  const before = await readReferences(file);
  const now = resources.map(({ kind, metadata }) => referenceOf(kind, metadata));
  if (resources.length > 0) {
    const applied = await applyInLots(registry, resources);
    if (!applied.ok) return applied;
  }
  const kept = new Set(now.map(nameOf));
  for (const reference of before.filter((one) => !kept.has(nameOf(one)))) {
    const deleted = await registry.delete(reference);
    // Somebody deleted it by hand: it is gone, which is what the file says.
    if (!deleted.ok && deleted.error.name !== "not_found") return deleted;
  }
  try {
    await writeFile(file, `${JSON.stringify(now, null, 2)}\n`, { mode: 0o600 });
    return ok(undefined);
  } catch (error) {
    return fail("state_unusable", String(error));
  }
}

function referenceOf(kind: AppliedKind, metadata: AppliedResource["metadata"]): Reference {
  const { cluster, name } = metadata;
  return { kind, cluster, name, ...("namespace" in metadata ? { namespace: metadata.namespace } : {}) };
}

function nameOf({ kind, cluster, name, namespace }: Reference): string {
  return [kind, cluster, namespace ?? "", name].join("/");
}

/** Nothing where there is none: the first start, or a state of an older version. */
async function readReferences(file: string): Promise<readonly Reference[]> {
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    return Array.isArray(value) ? (value as readonly Reference[]) : [];
  } catch {
    return [];
  }
}
