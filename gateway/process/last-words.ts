import { type Issue, type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import { exitCodeOf, renderFatal } from "./fatal.ts";

/** A process that cannot begin says why and ends. */
export function fail(reason: Problem, issues: readonly Issue[] = []): void {
  process.stderr.write(`${renderFatal(reason, issues)}\n`);
  process.exit(exitCodeOf(reason));
}

/** Last words for what nothing else caught: one line with a code, then the end, so that a supervisor starts anew. */
export function reportCrash(error: unknown): never {
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  const line = {
    time: new Date().toISOString(),
    level: "error",
    event: "crashed",
    code: PROBLEMS.internal.code,
    detail,
  };
  process.stderr.write(`${JSON.stringify(line)}\n`);
  process.exit(70);
}
