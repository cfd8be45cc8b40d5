import {
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { problem, type Problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";

/**
 * Writes whole or not at all: a temporary file beside it, flushed, renamed over it, and the directory flushed, so that
 * neither a crash nor a loss of power leaves half a key. Nobody but the owner can ever read it, not even for a moment.
 */
export function writeSecretFile(path: string, text: string): Result<undefined, Problem> {
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}`);
  try {
    const file = openSync(temporary, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o600);
    try {
      fchmodSync(file, 0o600);
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    flushDirectory(dirname(path));
    return ok(undefined);
  } catch (cause) {
    rmSync(temporary, { force: true });
    return err(writeProblem(path, cause));
  }
}

function flushDirectory(path: string): void {
  // Windows cannot open a directory, and has no need to.
  if (process.platform === "win32") return;
  const directory = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(directory);
  } finally {
    closeSync(directory);
  }
}

function writeProblem(path: string, cause: unknown): Problem {
  const code = errorCode(cause);
  const full = code === "ENOSPC" || code === "EDQUOT";
  return problem(full ? "disk_full" : "state_unusable", `${path} cannot be written: ${code}`);
}

/**
 * Refuses what every user of the machine can read, or what a group can change. A group may read: that is how Kubernetes
 * mounts a Secret for a process that is not root.
 */
export function readSecretFile(path: string): Result<string, Problem> {
  try {
    const file = openSync(path, constants.O_RDONLY);
    try {
      const { mode } = fstatSync(file);
      if (process.platform !== "win32" && (mode & 0o027) !== 0) {
        const octal = (mode & 0o777).toString(8);
        return err(
          problem("file_unreadable", `${path} has mode ${octal}, which is too open: chmod 600 ${path}`),
        );
      }
      return ok(readFileSync(file, "utf8"));
    } finally {
      closeSync(file);
    }
  } catch (cause) {
    return err(problem("file_unreadable", `${path}: ${errorCode(cause)}`));
  }
}

function errorCode(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
}
