import type { EventLog } from "../event-log.ts";
import type { Logger } from "../../../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../../../federation/model/problem.ts";
import type { Metrics } from "../counters.ts";

/** What is said of a decision about the way out; never a path, a query or a header: those may hold secrets. */
export interface AuditFields {
  readonly caller: string;
  readonly way: string;
  readonly destination?: string | undefined;
  readonly policy?: string | undefined;
  readonly method?: string | undefined;
}

interface Repeated {
  readonly fields: AuditFields;
  readonly reason: Problem;
  written: number;
  count: number;
}

// More different denials in one second than this are counted in one record, as are more of one kind than the second figure.
const MAX_KINDS = 1_000;
const MAX_OF_A_KIND = 20;

/**
 * One record for every decision that denies, a sample of those that allow. What a workload in a loop repeats within a second
 * becomes one record with its number, so that it cannot drown the log.
 */
export class EgressAudit {
  readonly #log: Logger;
  readonly #events: EventLog;
  readonly #metrics: Metrics;
  readonly #seen = new Map<string, Repeated>();

  constructor(log: Logger, events: EventLog, metrics: Metrics) {
    this.#log = log;
    this.#events = events;
    this.#metrics = metrics;
  }

  denied(reason: Problem, fields: AuditFields): void {
    const { code } = PROBLEMS[reason.name];
    this.#metrics.refusals.series({ code }).value += 1;
    const kind = this.#seen.size >= MAX_KINDS ? "others" : `${fields.caller} ${fields.destination} ${code}`;
    const repeated = this.#seen.get(kind);
    if (repeated === undefined) this.#seen.set(kind, { fields, reason, written: 1, count: 0 });
    else if (repeated.written < MAX_OF_A_KIND) repeated.written += 1;
    else {
      repeated.count += 1;
      return;
    }
    this.#write(reason, fields, 1);
  }

  allowed(fields: AuditFields & { readonly wouldDeny: boolean }): void {
    this.#events.access("egress_allowed", { ...fields });
  }

  /** Writes what was repeated; called about once a second. */
  flush(): void {
    for (const { fields, reason, count } of this.#seen.values())
      if (count > 0) this.#write(reason, fields, count);
    this.#seen.clear();
  }

  #write({ name, detail }: Problem, fields: AuditFields, count: number): void {
    const { code } = PROBLEMS[name];
    this.#log.warn("egress_denied", { code, problem: name, detail, ...fields, count });
  }
}
