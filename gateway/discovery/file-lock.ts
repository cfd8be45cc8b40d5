import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, type Result } from "../../federation/model/result.ts";
import type { Clock } from "../process/clock.ts";
import { isProcessAlive } from "../process/process-alive.ts";
import { errorCode, fileProblem } from "./atomic-file.ts";

export interface FileLockOptions {
  readonly clock: Clock;
  /** Whether a process of this machine lives; tests hand in their own. */
  readonly alive?: (pid: number) => boolean;
}

// What is done under a lock takes a request to the registry at most: who is seen with it for longer has been stopped, or
// has died on another machine.
const STALE_MS = 10_000;
const RETRY_MS = 10;
const GIVE_UP_MS = 15_000;

/**
 * Runs `work` while no other process does so under the same lock file. The file is linked into place complete, so that
 * it always names its holder; one whose holder died is moved aside, and put back should it turn out to be a new one.
 */
export async function withFileLock<T>(
  path: string,
  options: FileLockOptions,
  work: () => Promise<Result<T, Problem>>,
): Promise<Result<T, Problem>> {
  const token = `${process.pid} ${hostname()} ${randomUUID()}`;
  const own = `${path}.${randomUUID()}`;
  try {
    await writeFile(own, token, { flag: "wx", mode: 0o600 });
    if (!(await acquire(own, path, options))) {
      return err(problem("state_unusable", `${path} is held by another process`));
    }
    try {
      return await work();
    } finally {
      if ((await readLock(path)) === token) await rm(path, { force: true });
    }
  } catch (error) {
    return err(fileProblem(path, "written", error));
  } finally {
    await rm(own, { force: true }).catch(() => {});
  }
}

async function acquire(own: string, path: string, options: FileLockOptions): Promise<boolean> {
  const { clock } = options;
  const deadline = clock.now() + GIVE_UP_MS;
  let seen: { readonly holder: string; readonly sinceMs: number } | undefined;
  while (!(await tryLink(own, path))) {
    if (clock.now() > deadline) return false;
    const holder = await readLock(path);
    if (holder === undefined) continue;
    // Watched with our own clock: that of the file system may be another machine's.
    if (seen?.holder !== holder) seen = { holder, sinceMs: clock.now() };
    if (hasDied(holder, options) || clock.now() - seen.sinceMs > STALE_MS) await moveAside(path, holder);
    else await pause(clock, RETRY_MS);
  }
  return true;
}

async function tryLink(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function moveAside(path: string, holder: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    // Someone else was quicker.
    if (errorCode(error) === "ENOENT") return;
    throw error;
  }
  // Between reading and moving, another process may have replaced the stale lock by its own.
  if ((await readLock(aside)) !== holder) await tryLink(aside, path);
  await rm(aside, { force: true });
}

/** Can be known of this machine's processes only. */
function hasDied(holder: string, { alive = isProcessAlive }: FileLockOptions): boolean {
  const [pid, host] = holder.split(" ");
  return host === hostname() && !alive(Number(pid));
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
