import { type Issue, PROBLEMS, type Problem, type ProblemName } from "../model/problem.ts";

/** Exit codes as the command line has them: 64 settings, 69 a missing prerequisite, 2 a fault of ours. */
const EXIT_CODES: { readonly [N in ProblemName]?: number } = {
  config_invalid: 64,
  port_in_use: 69,
  state_unusable: 69,
  file_unreadable: 69,
  disk_full: 69,
};

export interface Fatal {
  readonly text: string;
  readonly exitCode: number;
}

/** How a registry ends that cannot begin: what, why, and what to do. */
export function fatal(problem: Problem, issues: readonly Issue[] = []): Fatal {
  const { code, title, fix } = PROBLEMS[problem.name];
  const lines = issues.map(({ path, message }) => `  ${path}: ${message}\n`).join("");
  return {
    text: `error[${code}]: ${title}\nwhy: ${problem.detail}\n${lines}fix: ${fix}\n`,
    exitCode: EXIT_CODES[problem.name] ?? 2,
  };
}
