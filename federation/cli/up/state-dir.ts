import { lstat, mkdir, mkdtemp, open, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { isProcessAlive } from "../../../gateway/process/process-alive.ts";
import { ok, type Result } from "../../model/result.ts";
import { type Failure, fail } from "../failure.ts";

/** Where one running federation keeps everything. Held by one `up` at a time. */
export interface StateDir {
  readonly path: string;
  /** It goes when the federation ends. */
  readonly temporary: boolean;
  /** Lets go of it and, if it is temporary, removes it. */
  release(): Promise<void>;
}

const OWNER_ONLY = 0o700;
const TEMPORARY_PREFIX = "isthmus-up-";
const LOCK = "up.pid";

export async function openStateDir(
  wanted: string | undefined,
  pid: number,
): Promise<Result<StateDir, Failure>> {
  try {
    if (wanted === undefined) await removeLeftBehind(tmpdir());
    const directory =
      wanted === undefined ? await mkdtemp(path.join(tmpdir(), TEMPORARY_PREFIX)) : path.resolve(wanted);
    await mkdir(path.join(directory, "logs"), { recursive: true, mode: OWNER_ONLY });
    const lock = path.join(directory, LOCK);
    const holder = await takeLock(lock, pid);
    if (holder !== undefined) {
      return fail("state_unusable", `${directory} is in use by process ${holder}`, {
        why: "one federation at a time lives in a state directory",
        fix: `stop process ${holder}, or choose another directory with --state`,
      });
    }
    return ok({
      path: directory,
      temporary: wanted === undefined,
      release: () => rm(wanted === undefined ? directory : lock, { recursive: true, force: true }),
    });
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return fail(isFull(error) ? "disk_full" : "state_unusable", detail);
  }
}

/** The process that holds the lock; `undefined`: we do now. A holder that was killed left its file behind and does not count. */
async function takeLock(file: string, pid: number): Promise<number | undefined> {
  try {
    const handle = await open(file, "wx", 0o600);
    await handle.writeFile(`${pid}\n`);
    await handle.close();
    return undefined;
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  }
  const holder = Number((await readFile(file, "utf8")).trim());
  if (Number.isInteger(holder) && holder > 0 && isProcessAlive(holder)) return holder;
  await rm(file, { force: true });
  return takeLock(file, pid);
}

/** Temporary directories of this user whose `up` was killed: nobody else will remove them, and they hold keys. */
export async function removeLeftBehind(parent: string): Promise<void> {
  const names = await readdir(parent).catch(() => []);
  for (const name of names.filter((one) => one.startsWith(TEMPORARY_PREFIX))) {
    const directory = path.join(parent, name);
    try {
      const found = await lstat(directory);
      if (!found.isDirectory() || found.uid !== process.getuid?.()) continue;
      const holder = Number((await readFile(path.join(directory, LOCK), "utf8")).trim());
      if (isProcessAlive(holder)) continue;
      await rm(directory, { recursive: true, force: true });
    } catch {
      // Without a lock it is only being made, or somebody removes it at this moment.
    }
  }
}

export function isFull(error: unknown): boolean {
  return hasCode(error, "ENOSPC") || hasCode(error, "EDQUOT");
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
