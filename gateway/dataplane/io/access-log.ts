import type { LogFields, Logger } from "../../../federation/model/log.ts";

/** Which requests and connections get a line. Failed ones and a share of the others, 0 to 1. */
export interface AccessLogPolicy {
  readonly share: number;
}

/** One structured line for each request or connection that is over, where the operator asked for it. */
export class AccessLog {
  readonly #policy: AccessLogPolicy;
  readonly #log: Logger;
  readonly #random: () => number;

  constructor(policy: AccessLogPolicy, log: Logger, random: () => number) {
    this.#policy = policy;
    this.#log = log;
    this.#random = random;
  }

  wants(failed: boolean): boolean {
    return (
      failed || this.#policy.share >= 1 || (this.#policy.share > 0 && this.#random() < this.#policy.share)
    );
  }

  write(event: "request" | "connection", fields: LogFields): void {
    this.#log.info(event, fields);
  }
}
