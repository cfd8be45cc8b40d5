import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import {
  limitApplies,
  type LimitRule,
  limitsOf,
  type RequestFields,
  type ServiceRules,
} from "../policy/rule-tables.ts";
import type { EntryForward, Refuse } from "../routing/decide.ts";
import type { Guard, Limiter } from "./guard.ts";

interface ActiveLimit {
  readonly limit: LimitRule;
  readonly limiter: Limiter;
}

const NO_LIMITS: readonly ActiveLimit[] = [];
const MAX_RETRY_MS = 3_600_000;

/** The RateLimits that can concern one workload's way to one service. */
export class EntryLimits {
  readonly #guard: Guard;
  readonly #service: string;
  readonly #limits: readonly ActiveLimit[];

  constructor(guard: Guard, service: string, rules: ServiceRules | undefined, caller: SpiffeId) {
    this.#guard = guard;
    this.#service = service;
    this.#limits =
      rules === undefined
        ? NO_LIMITS
        : limitsOf(rules, caller).map((limit) => ({ limit, limiter: guard.limiter(limit) }));
  }

  /** Takes a token of each; answers the refusal of the first that has none, unless that only observes. */
  take(target: EntryForward, fields: RequestFields): Refuse | undefined {
    for (const { limit, limiter } of this.#limits) {
      if (!limitApplies(limit, target.destination, target.version, fields)) continue;
      const waitMs = limiter.take(this.#guard.env.now());
      if (waitMs === 0) continue;
      if (limit.observe) {
        this.#guard.observed(this.#service, limit.name, "limited", "a rate limit is reached");
        continue;
      }
      this.#guard.count(limit.name, "limited", false);
      const retryAfterS = Math.max(1, Math.ceil(Math.min(waitMs, MAX_RETRY_MS) / 1_000));
      return { kind: "refuse", problem: limited(limit), retryAfterS };
    }
    return undefined;
  }
}

function limited({ name }: LimitRule): Problem {
  return problem("rate_limited", `RateLimit ${name}`);
}
