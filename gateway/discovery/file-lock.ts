import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, type Result } from "../../federation/model/result.ts";
import type { Clock } from "../process/clock.ts";
import { errorCode, fileProblem } from "./atomic-file.ts";

export interface FileLockOptions {
  readonly clock: Clock;
  /** Whether a process of this machine lives; tests hand in their own. */
  readonly alive?: (pid: number) => boolean;
  readonly pid?: number;
}

// What is done under the lock takes milliseconds: who holds it longer than this has been stopped or is on another machine.
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
  const token = `${options.pid ?? process.pid} ${randomUUID()}`;
  const own = `${path}.${randomUUID()}`;
  try {
    await writeFile(own, token, { flag: "wx", mode: 0o600 });
    const deadline = options.clock.now() + GIVE_UP_MS;
    while (!(await tryLink(own, path))) {
      if (options.clock.now() > deadline)
        return err(problem("state_unusable", `${path} is held by another process`));
      if (!(await removeIfStale(path, options))) await pause(options.clock, RETRY_MS);
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

async function tryLink(own: string, path: string): Promise<boolean> {
  try {
    await link(own, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

async function removeIfStale(path: string, options: FileLockOptions): Promise<boolean> {
  const holder = await readLock(path);
  if (holder === undefined) return true;
  if (!(await isStale(path, holder, options))) return false;
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch (error) {
    // Someone else was quicker.
    if (errorCode(error) === "ENOENT") return true;
    throw error;
  }
  // Between reading and moving, another process may have replaced the stale lock by its own.
  if ((await readLock(aside)) !== holder) await tryLink(aside, path);
  await rm(aside, { force: true });
  return true;
}

async function isStale(
  path: string,
  holder: string,
  { clock, alive = processLives }: FileLockOptions,
): Promise<boolean> {
  if (!alive(Number.parseInt(holder, 10))) return true;
  const made = await stat(path).catch(() => undefined);
  return made !== undefined && clock.now() - made.ctimeMs > STALE_MS;
}

async function readLock(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function processLives(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === "EPERM";
  }
}

function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
