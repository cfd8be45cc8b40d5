import { open } from "node:fs/promises";
import { PROBLEMS, type ProblemName } from "../../model/problem.ts";

const TAIL_BYTES = 16 * 1024;
const TAIL_LINES = 15;

/** The last lines of a log, however long it is; none when it cannot be read. */
export async function readTail(file: string): Promise<readonly string[]> {
  try {
    const handle = await open(file, "r");
    try {
      const { size } = await handle.stat();
      const length = Math.min(size, TAIL_BYTES);
      const { buffer } = await handle.read(Buffer.alloc(length), 0, length, size - length);
      return buffer.toString("utf8").split("\n").filter(Boolean).slice(-TAIL_LINES);
    } finally {
      await handle.close();
    }
  } catch {
    return [];
  }
}

export interface FoundProblem {
  readonly name: ProblemName;
  readonly detail: string;
}

/** The reason that a role printed before it ended (`error[ISTH-6003]: …`), so that `up` can end for the same one. */
export function findProblem(lines: readonly string[]): FoundProblem | undefined {
  for (const [index, line] of lines.entries()) {
    const match = /^error\[(ISTH-[0-9]{4})\]: (.*)$/.exec(line);
    if (match === null) continue;
    const row = Object.entries(PROBLEMS).find(([, { code }]) => code === match[1]);
    if (row === undefined) continue;
    const why = /^why: (.*)$/.exec(lines[index + 1] ?? "")?.[1];
    return { name: row[0] as ProblemName, detail: why ?? match[2] ?? "" };
  }
  return undefined;
}
