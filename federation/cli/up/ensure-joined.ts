import { stat } from "node:fs/promises";
import { ok, type Result } from "../../model/result.ts";
import { type Failure, fail } from "../failure.ts";
import { joinMember } from "../join-member.ts";
import type { RegistryClient } from "../registry-client.ts";
import type { ClusterPlan } from "./plan.ts";

/** Makes the cluster a member, unless its state directory says that it is one since an earlier run. */
export async function ensureJoined(
  cluster: ClusterPlan,
  registryUrl: string,
  registry: RegistryClient,
  now: () => number,
): Promise<Result<void, Failure>> {
  if (await exists(`${cluster.stateDir}/cluster.json`)) return ok(undefined);
  const registered = await registry.register(cluster.name);
  if (!registered.ok) return registered;
  const { token } = registered.value;
  if (token === undefined) return fail("internal", `the registry gave no join token for ${cluster.name}`);
  const joined = await joinMember({ registryUrl, token, stateDir: cluster.stateDir, now });
  return joined.ok ? ok(undefined) : joined;
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch {
    return false;
  }
}
