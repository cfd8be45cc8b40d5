import { opaqueName } from "../balance/session-token.ts";
import { type RolloutRule, ruleFor } from "../policy/rule-tables.ts";
import type { BroughtSession } from "../policy/session.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { CanaryMeter } from "./canary-meter.ts";
import type { Guard } from "./guard.ts";
import type { TargetVariants } from "./target-variants.ts";

/** Between which versions of one service what no route chose one for is divided. */
export class EntryRollouts {
  readonly #guard: Guard;
  readonly #service: string;
  readonly #rules: readonly RolloutRule[];
  readonly #variants: TargetVariants;
  readonly #random: () => number;

  constructor(
    guard: Guard,
    service: string,
    rules: readonly RolloutRule[],
    variants: TargetVariants,
    random: () => number,
  ) {
    this.#guard = guard;
    this.#service = service;
    this.#rules = rules;
    this.#variants = variants;
    this.#random = random;
  }

  /** `given` in [0, 1) decides for the canary or against it, else chance. */
  versionOf(target: EntryForward, given?: number): EntryForward {
    const rollout = this.#about(target, false);
    if (rollout === undefined) return target;
    const { weight, canary, stable } = rollout.rule;
    return this.#variants.ofVersion(target, (given ?? this.#random()) * 100 < weight ? canary : stable);
  }

  /** A session stays with its version of a rollout as long as that gets anything; one of before the rollout is stable. */
  ofSession(home: EntryForward, version: string | undefined): EntryForward | undefined {
    const rollout = this.#about(home, false);
    if (rollout === undefined) return home;
    const { weight, canary, stable } = rollout.rule;
    const isCanary = version === opaqueName(canary);
    if (weight === (isCanary ? 0 : 100)) return undefined;
    return this.#variants.ofVersion(home, isCanary ? canary : stable);
  }

  /** Counts what one that only observes would send to its canary. `kept`: the session by which the request goes there. */
  observe(target: EntryForward, kept: BroughtSession | undefined): void {
    const rollout = this.#about(target, true);
    if (rollout === undefined) return;
    const { weight, canary } = rollout.rule;
    // A session of before a rollout stays with the stable version while that gets anything.
    const draw = typeof kept === "object" ? (weight === 100 ? 0 : 1) : (kept ?? this.#random());
    if (draw * 100 < weight)
      this.#guard.observed(
        this.#service,
        rollout.name,
        "canary",
        `version ${canary} of Rollout ${rollout.name}`,
      );
  }

  /** Measures requests to a rollout's canary; `undefined` for all others. */
  canary(target: EntryForward): CanaryMeter | undefined {
    if (target.version === undefined || this.#rules.length === 0) return undefined;
    const rollout = ruleFor(this.#rules, target.destination);
    return rollout?.rule.canary === target.version ? this.#guard.canary(rollout.name) : undefined;
  }

  #about(target: EntryForward, observe: boolean): RolloutRule | undefined {
    if (this.#rules.length === 0 || target.version !== undefined) return undefined;
    const rollout = ruleFor(this.#rules, target.destination);
    return rollout?.observe === observe ? rollout : undefined;
  }
}
