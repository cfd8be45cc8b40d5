import { type Issue, PROBLEMS, type ProblemName } from "../model/problem.ts";
import { err } from "../model/result.ts";
import { type ExitCode, exitCodeOf } from "./exit.ts";
import type { Paint } from "./output/paint.ts";

/** Why a command ends without doing what it was asked. */
export interface Failure {
  readonly name: ProblemName;
  /** The particulars, in one line. */
  readonly detail: string;
  /** More than the code's general title says, if something is known. */
  readonly why?: string;
  /** A better remedy than the code's general one. */
  readonly fix?: string;
  /** Lines printed before the error: complaints about places in files, the end of a log. */
  readonly lines?: readonly string[];
  /** Complaints of the registry about fields of what it was sent; shown unless `lines` say them better. */
  readonly issues?: readonly Issue[];
  readonly exit?: ExitCode;
}

export function fail(name: ProblemName, detail: string, more: Omit<Failure, "name" | "detail"> = {}) {
  return err<Failure>({ name, detail, ...more });
}

export function failureExit(failure: Failure): ExitCode {
  return failure.exit ?? exitCodeOf(failure.name);
}

export function renderFailure(failure: Failure, paint: Paint): string {
  const { code, title, fix } = PROBLEMS[failure.name];
  const why = failure.why ?? title;
  return [
    ...(failure.lines ?? failure.issues?.map(renderIssue) ?? []),
    `${paint("red", `error[${code}]:`)} ${failure.detail}`,
    ...(why === failure.detail ? [] : [`${paint("dim", "why:")} ${why}`]),
    `${paint("dim", "fix:")} ${failure.fix ?? fix}`,
  ].join("\n");
}

/** `spec.form unknown field (did you mean "from"?)` */
export function renderIssue({ path, message, suggestion }: Issue): string {
  const hint = suggestion === undefined ? "" : ` (did you mean "${suggestion}"?)`;
  return `${path === "" ? "" : `${path} `}${message}${hint}`;
}
