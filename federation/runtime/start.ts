import { createApp } from "../http/app.ts";
import { RegistryMetrics } from "../http/metrics.ts";
import type { Logger } from "../model/log.ts";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { VERSION } from "../model/version.ts";
import { measureStore } from "../registry/measured-store.ts";
import { Registry } from "../registry/registry.ts";
import { createTrustAuthority } from "../registry/trust-authority.ts";
import { systemClock } from "./clock.ts";
import type { RegistryConfig } from "./config.ts";
import { FileVault } from "./file-vault.ts";
import { createKeyShelf } from "./key-shelf.ts";
import { openKeys } from "./keys.ts";
import { openStore } from "./open-store.ts";
import { type Listening, listen } from "./serve.ts";
import { adminTokenFile, adminTokenSha256, prepareStateDir } from "./state-dir.ts";

export interface RunningRegistry {
  readonly address: string;
  readonly adminTokenFile: string;
  stop(): Promise<void>;
}

/** Everything of a registry, from its state directory to its listener. */
export async function startRegistry(
  config: RegistryConfig,
  log: Logger,
): Promise<Result<RunningRegistry, Problem>> {
  const unusable = prepareStateDir(config.stateDir);
  if (unusable !== undefined) return err(unusable);
  const opened = await openStore(config);
  if (!opened.ok) return opened;
  const { archive, units } = opened.value;
  const monotonicMs = (): number => performance.now();
  const { store, measured } = measureStore(opened.value.store, monotonicMs, units);
  const vault = new FileVault(config.stateDir);
  const keys = await openKeys({
    vault,
    store,
    federation: config.federation,
    now: systemClock.now(),
    adminTokenSha256: () => adminTokenSha256(config.stateDir),
  });
  if (!keys.ok) {
    store.close();
    return keys;
  }
  const { root, signing, foundation } = keys.value;
  const authority = createTrustAuthority({ ...foundation, root, key: signing, shelf: createKeyShelf(vault) });
  const registry = await Registry.open({
    store,
    clock: systemClock,
    random: Math.random,
    authority,
    archive,
  });
  if (!registry.ok) return err(problem("state_unusable", registry.error.problem.detail));
  let accepting = true;
  const maintenance = keepMaintained(registry.value, store.shared, log);
  const metrics = new RegistryMetrics({ monotonicMs, store: measured });
  const app = createApp({
    registry: registry.value,
    log,
    version: VERSION,
    accepting: () => accepting,
    metrics,
  });
  const listening = await listen(app.fetch, config.listen);
  if (!listening.ok) {
    await registry.value.close();
    return listening;
  }
  return ok({
    address: listening.value.address,
    adminTokenFile: adminTokenFile(config.stateDir),
    stop: () => {
      accepting = false;
      maintenance.cancel();
      return stop(registry.value, listening.value);
    },
  });
}

const MAINTAIN_MS = 10 * 60_000;

/** What cron does where nothing runs by itself. On a table that others use too, a new key would lie on this disk only. */
function keepMaintained(registry: Registry, shared: boolean, log: Logger): { cancel(): void } {
  let timer = { cancel: (): void => {} };
  const run = async (): Promise<void> => {
    timer = systemClock.after(MAINTAIN_MS, () => void run());
    try {
      const done = await registry.maintain({ makesKeys: !shared });
      if (!done.ok) log.warn("not_maintained", { detail: done.error.problem.detail });
    } catch (cause) {
      log.error("not_maintained", { detail: String(cause) });
    }
  };
  void run();
  return { cancel: () => timer.cancel() };
}

async function stop(registry: Registry, listening: Listening): Promise<void> {
  const closed = listening.close();
  // Otherwise every waiting poll would hold the end up for its whole wait.
  registry.wakeups.wakeAll();
  await closed;
  await registry.close();
}
