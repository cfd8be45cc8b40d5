import { RetryBudget } from "../policy/retry-budget.ts";
import type { CompiledRule } from "../routing/compile-rule.ts";

// Far more rules with retries than a process serves at a time; what is forgotten starts with an empty count.
const MAX_BUDGETS = 10_000;

/** One budget for each rule, for all callers of a process; it outlives a change of the rule. */
export class RetryBudgets {
  readonly #budgets = new Map<string, RetryBudget>();

  of({ route, name }: CompiledRule): RetryBudget {
    const key = `${route} ${name}`;
    const known = this.#budgets.get(key);
    if (known !== undefined) return known;
    if (this.#budgets.size >= MAX_BUDGETS) this.#budgets.clear();
    const made = new RetryBudget();
    this.#budgets.set(key, made);
    return made;
  }
}
