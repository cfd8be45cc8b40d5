import type { LogFields, Logger } from "../../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";

// Enough to see every event of a quiet system and a sample of a busy one; a log line costs about as much as a request.
const LINES_PER_WINDOW = 50;
const WINDOW_MS = 1_000;

/** Access and refusal lines, at most LINES_PER_WINDOW a second; what is left out is counted in the next line. */
export class EventLog {
  readonly #log: Logger;
  readonly #now: () => number;
  #windowStart = 0;
  #written = 0;
  #suppressed = 0;

  constructor(log: Logger, now: () => number) {
    this.#log = log;
    this.#now = now;
  }

  access(event: string, fields: LogFields): void {
    if (this.#admit())
      this.#log.info(event, this.#suppressed > 0 ? { ...fields, suppressed: this.#take() } : fields);
  }

  refusal(event: string, reason: Problem, fields: LogFields): void {
    if (!this.#admit()) return;
    const suppressed = this.#suppressed > 0 ? { suppressed: this.#take() } : {};
    this.#log.warn(event, {
      code: PROBLEMS[reason.name].code,
      problem: reason.name,
      detail: reason.detail,
      ...fields,
      ...suppressed,
    });
  }

  #admit(): boolean {
    const now = this.#now();
    if (now - this.#windowStart >= WINDOW_MS) {
      this.#windowStart = now;
      this.#written = 0;
    }
    this.#written += 1;
    if (this.#written <= LINES_PER_WINDOW) return true;
    this.#suppressed += 1;
    return false;
  }

  #take(): number {
    const count = this.#suppressed;
    this.#suppressed = 0;
    return count;
  }
}
