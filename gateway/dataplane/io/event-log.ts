import type { LogFields, Logger } from "../../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";

// Enough to see every event of a quiet system and a sample of a busy one; a log line costs about as much as a request.
const LINES_PER_WINDOW = 50;
const WINDOW_MS = 1_000;

/** What one kind of event has written in its present window. */
interface Allowance {
  windowStart: number;
  written: number;
  suppressed: number;
}

/**
 * Access and refusal lines, at most LINES_PER_WINDOW a second of each event; what is left out is counted in the next line.
 * Each event has its own allowance, so that a flood of one does not hide the line that says who was cut for it.
 */
export class EventLog {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #allowances = new Map<string, Allowance>();

  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  /** `kind`: of an event that is said of very different things, so that each has its allowance. */
  access(event: string, fields: LogFields, kind = event): void {
    const allowance = this.#admit(kind);
    if (allowance !== undefined) this.#log.info(event, withSuppressed(fields, allowance));
  }

  refusal(event: string, reason: Problem, fields: LogFields): void {
    const allowance = this.#admit(event);
    if (allowance === undefined) return;
    const { code } = PROBLEMS[reason.name];
    const about = { code, problem: reason.name, detail: reason.detail, ...fields };
    this.#log.warn(event, withSuppressed(about, allowance));
  }

  #admit(kind: string): Allowance | undefined {
    const now = this.#now();
    const allowance = this.#allowances.get(kind) ?? { windowStart: now, written: 0, suppressed: 0 };
    this.#allowances.set(kind, allowance);
    if (now - allowance.windowStart >= WINDOW_MS) {
      allowance.windowStart = now;
      allowance.written = 0;
    }
    if (allowance.written >= LINES_PER_WINDOW) {
      allowance.suppressed += 1;
      return undefined;
    }
    allowance.written += 1;
    return allowance;
  }
}

function withSuppressed(fields: LogFields, allowance: Allowance): LogFields {
  const { suppressed } = allowance;
  if (suppressed === 0) return fields;
  allowance.suppressed = 0;
  return { ...fields, suppressed };
}
