import type { CompiledRule } from "../routing/compile-rule.ts";
import type { Dice } from "../routing/decide-request.ts";

/** 1/φ: multiples of it, modulo 1, lie as evenly as any sequence can (Weyl), so that every stretch keeps to the weights. */
const GOLDEN = 0.6180339887498949;

/** Chance as one entry draws it. */
export class EntryDice implements Dice {
  readonly random: () => number;
  readonly pick: Dice["pick"];
  readonly session: Dice["session"];
  readonly #splits = new Map<CompiledRule, number>();

  constructor(random: () => number, pick: Dice["pick"], session: Dice["session"]) {
    this.random = random;
    this.pick = pick;
    this.session = session;
  }

  split(rule: CompiledRule): number {
    const next = ((this.#splits.get(rule) ?? this.random()) + GOLDEN) % 1;
    this.#splits.set(rule, next);
    return next;
  }

  forget(): void {
    this.#splits.clear();
  }
}
