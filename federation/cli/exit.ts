import type { ProblemName } from "../model/problem.ts";

/** What a script may rely on. */
export const EXIT = {
  yes: 0,
  /** A clear no: a check failed, a permission is missing, something differs. */
  no: 1,
  /** No answer: the registry is silent, a fault of our own. */
  unanswered: 2,
  usage: 64,
  badInput: 65,
  prerequisite: 69,
  timeout: 124,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

const BY_PROBLEM: { readonly [P in ProblemName]?: ExitCode } = {
  usage: EXIT.usage,
  config_invalid: EXIT.usage,
  file_invalid: EXIT.badInput,
  file_unreadable: EXIT.badInput,
  request_invalid: EXIT.badInput,
  request_too_large: EXIT.badInput,
  unsupported_media: EXIT.badInput,
  port_in_use: EXIT.prerequisite,
  state_unusable: EXIT.prerequisite,
  disk_full: EXIT.prerequisite,
  node_version: EXIT.prerequisite,
  upstream_timeout: EXIT.timeout,
  registry_unreachable: EXIT.unanswered,
  store_unavailable: EXIT.unanswered,
  limit_exceeded: EXIT.unanswered,
  process_failed: EXIT.unanswered,
  internal: EXIT.unanswered,
};

/** Whatever is not about the machine, the files or the way to the registry is an answer, and the answer is no. */
export function exitCodeOf(name: ProblemName): ExitCode {
  return BY_PROBLEM[name] ?? EXIT.no;
}
