import type { Issue, ProblemName } from "../model/problem.ts";
import type { Result } from "../model/result.ts";
import type { Refusal } from "../registry/change.ts";

/** Thrown by handlers and rendered in one place; nothing below HTTP throws it. */
export class ProblemError extends Error {
  override readonly name = "ProblemError";
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(`${refusal.problem.name}: ${refusal.problem.detail}`);
    this.refusal = refusal;
  }
}

export function problemError(name: ProblemName, detail: string, issues?: readonly Issue[]): ProblemError {
  const problem = { name, detail };
  return new ProblemError(issues === undefined ? { problem } : { problem, issues });
}

export function orThrow<T>(result: Result<T, Refusal>): T {
  if (result.ok) return result.value;
  throw new ProblemError(result.error);
}
