import { randomUUID } from "node:crypto";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";

/** Replaces the file whole: a reader, or a start after a crash, sees the old text or the new one, never a part. */
export async function writeFileAtomic(
  path: string,
  text: string,
  mode = 0o600,
): Promise<Result<void, Problem>> {
  const temporary = `${path}.${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    await syncDirectory(dirname(path));
    return ok(undefined);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    return err(fileProblem(path, "written", error));
  }
}

/** Makes the rename itself durable; a file system that cannot do so is no reason to fail. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r").catch(() => undefined);
  await directory?.sync().catch(() => {});
  await directory?.close();
}

const REASONS: { readonly [code: string]: string } = {
  ENOENT: "it does not exist",
  EACCES: "this user has no permission",
  EPERM: "this user has no permission",
  EISDIR: "it is a directory",
  ENOTDIR: "a part of its path is not a directory",
  EROFS: "the file system is read-only",
  EIO: "the device reports an error",
  EMFILE: "this process has too many open files",
};

/** What to tell of an error of the file system. */
export function fileProblem(path: string, done: "read" | "written", error: unknown): Problem {
  const code = errorCode(error);
  if (code === "ENOSPC" || code === "EDQUOT") return problem("disk_full", `${path} cannot be written`);
  const reason = REASONS[code] ?? (error instanceof Error ? error.message : String(error));
  return problem("state_unusable", `${path} cannot be ${done}: ${reason}`);
}

export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
