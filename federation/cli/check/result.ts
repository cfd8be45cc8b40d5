/** One line of `isthmus check`. */
export interface CheckResult {
  /** `registry`, `cluster east`, `services`, `calls` */
  readonly category: string;
  /** A statement that is true when all is well. */
  readonly name: string;
  readonly status: CheckStatus;
  /** What was found. */
  readonly detail?: string;
  readonly code?: string;
  readonly fix?: string;
}

/** `skipped`: it could not be looked at from here; the detail says why. */
export type CheckStatus = "ok" | "warning" | "failed" | "skipped";

export function passed(category: string, name: string, detail?: string): CheckResult {
  return { category, name, status: "ok", ...(detail === undefined ? {} : { detail }) };
}

export function skipped(category: string, name: string, detail: string): CheckResult {
  return { category, name, status: "skipped", detail };
}

/** Worst first: what the whole check answers. */
export function verdict(results: readonly CheckResult[]): "ok" | "warning" | "failed" {
  if (results.some(({ status }) => status === "failed")) return "failed";
  return results.some(({ status }) => status === "warning") ? "warning" : "ok";
}
