import type { KeyObject } from "node:crypto";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Problem } from "../../federation/model/problem.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import {
  createClusterKey,
  privateKeyFromPem,
  privateKeyToPem,
  readSecretFile,
  writeSecretFile,
} from "../../federation/trust/index.ts";
import { createStateDir } from "./cluster-state.ts";

const PENDING_KEY = "join.key";

/** The key that the next join will use: the one of an earlier attempt, else a new one. */
export function pendingJoinKey(stateDir: string): Result<KeyObject, Problem> {
  const made = createStateDir(stateDir);
  if (!made.ok) return made;
  const path = join(stateDir, PENDING_KEY);
  const earlier = existsSync(path) ? readSecretFile(path) : undefined;
  const read = earlier?.ok === true ? privateKeyFromPem(earlier.value) : undefined;
  if (read?.ok === true) return read;
  const key = createClusterKey();
  const written = writeSecretFile(path, privateKeyToPem(key));
  return written.ok ? ok(key) : written;
}

/** The next join will use one that was made elsewhere in the cluster. */
export function adoptJoinKey(stateDir: string, pem: string): Result<undefined, Problem> {
  const key = privateKeyFromPem(pem);
  return key.ok ? writeSecretFile(join(stateDir, PENDING_KEY), pem) : key;
}

export function forgetJoinKey(stateDir: string): void {
  rmSync(join(stateDir, PENDING_KEY), { force: true });
}
