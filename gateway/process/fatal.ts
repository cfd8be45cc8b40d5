import { type Issue, PROBLEMS, type Problem, type ProblemName } from "../../federation/model/problem.ts";

/** Exit codes of the command line: 0 yes · 1 a clear no · 2 could not answer · 64 usage · 65 bad file · 69 prerequisite. */
const EXIT_CODES: { readonly [N in ProblemName]?: number } = {
  usage: 64,
  config_invalid: 64,
  file_invalid: 65,
  file_unreadable: 65,
  port_in_use: 69,
  state_unusable: 69,
  disk_full: 69,
  node_version: 69,
  registry_unreachable: 2,
  internal: 2,
};

/** A problem that knows its places: fields of settings, or lines of a file. */
export interface FatalProblem extends Problem {
  readonly issues?: readonly (Issue & { readonly line?: number })[];
}

/** How a process ends that cannot begin: what, why, and what to do, for a person at a terminal. */
export function renderFatal(problem: FatalProblem, issues: readonly Issue[] = []): string {
  const { code, title, fix } = PROBLEMS[problem.name];
  const lines = [`error[${code}]: ${title}`, `why: ${problem.detail}`];
  const places: NonNullable<FatalProblem["issues"]> = [...(problem.issues ?? []), ...issues];
  for (const { line, path, message, suggestion } of places) {
    const place = [line === undefined ? "" : `line ${line}`, path].filter((part) => part !== "").join(", ");
    const hint = suggestion === undefined ? "" : ` (did you mean "${suggestion}"?)`;
    lines.push(`  ${place}: ${message}${hint}`);
  }
  lines.push(`fix: ${fix}`);
  return lines.join("\n");
}

export function exitCodeOf(problem: Problem): number {
  return EXIT_CODES[problem.name] ?? 1;
}

/** The problem behind an error of `listen`, for the address that was asked for. */
export function listenProblem(address: string, error: NodeJS.ErrnoException): Problem {
  if (error.code === "EADDRINUSE") return { name: "port_in_use", detail: `${address} is taken` };
  return { name: "config_invalid", detail: `cannot listen on ${address}: ${error.message}` };
}
