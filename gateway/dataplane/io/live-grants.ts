import type { Problem } from "../../../federation/model/problem.ts";
import { Bag, type Bagged } from "./bag.ts";

/** Something allowed that still runs: judged again whenever the rules change. */
export interface Grant extends Bagged {
  /** The problem, if the rules in force no longer allow it. */
  recheck(): Problem | undefined;
  cut(reason: Problem): void;
}

/** A change of permission holds for what is under way, not only for what comes next. */
export class LiveGrants {
  readonly #grants = new Bag<Grant>();

  add(grant: Grant): void {
    this.#grants.add(grant);
  }

  delete(grant: Grant): void {
    this.#grants.delete(grant);
  }

  get size(): number {
    return this.#grants.size;
  }

  recheckAll(): void {
    for (const grant of this.#grants.all()) {
      const reason = grant.recheck();
      if (reason === undefined) continue;
      this.#grants.delete(grant);
      grant.cut(reason);
    }
  }
}
