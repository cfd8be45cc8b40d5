import { readFile, stat } from "node:fs/promises";
import { ok, type Result } from "../../model/result.ts";
import { type Failure, fail } from "../failure.ts";
import type { Terminal } from "../terminal.ts";

// Far beyond what a person writes; a wrong path (a disk image, a log) is refused before it is read.
const MAX_BYTES = 8 * 1024 * 1024;

/** A file's text; `-` reads stdin. */
export async function readInput(file: string, terminal: Terminal): Promise<Result<string, Failure>> {
  try {
    if (file === "-") return ok(await terminal.stdin());
    const { size } = await stat(file);
    if (size > MAX_BYTES)
      return fail("file_unreadable", `${file} has ${size} bytes; at most ${MAX_BYTES} are read`);
    return ok(await readFile(file, "utf8"));
  } catch (error) {
    return fail("file_unreadable", error instanceof Error ? error.message : String(error));
  }
}
