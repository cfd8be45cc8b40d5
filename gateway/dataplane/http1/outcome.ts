import type { ProblemName } from "../../../federation/model/problem.ts";

/** What a head parser answers. `need-more` is a shared object, so waiting allocates nothing. */
export type HeadOutcome<T> =
  | { readonly kind: "need-more" }
  | { readonly kind: "head"; readonly head: T }
  | { readonly kind: "invalid"; readonly problem: ProblemName; readonly detail: string };

export interface HeadLimits {
  /** Start line, fields and the final empty line together. */
  readonly headBytes: number;
  readonly fields: number;
}

// What browsers and large tokens need with room to spare; the README and problem http_head_too_large name the same figures.
export const DEFAULT_HEAD_LIMITS: HeadLimits = Object.freeze({ headBytes: 32 * 1024, fields: 100 });

export const NEED_MORE: { readonly kind: "need-more" } = Object.freeze({ kind: "need-more" });

export interface Invalid {
  readonly kind: "invalid";
  readonly problem: ProblemName;
  readonly detail: string;
}

export function invalid(problem: ProblemName, detail: string): Invalid {
  return { kind: "invalid", problem, detail };
}

export function headTooLarge(limits: HeadLimits): Invalid {
  return invalid("http_head_too_large", `more than ${limits.fields} fields or ${limits.headBytes} bytes`);
}

/** Names a byte by its value: the byte itself may be a control character that would garble a log. */
export function octetName(octet: number): string {
  return `byte 0x${octet.toString(16).padStart(2, "0")}`;
}
