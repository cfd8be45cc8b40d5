import type { AppliedResource } from "../../federation/model/resource.ts";

/** One object as it was judged just now. */
export interface Judged {
  readonly key: string;
  /** `undefined`: it is there, and bad. */
  readonly value: AppliedResource | undefined;
}

/** What is in force of objects that people edit: a bad edit leaves the last good one, a deletion takes it away. */
export class LastGood {
  #values = new Map<string, AppliedResource>();

  of(judged: readonly Judged[]): readonly AppliedResource[] {
    const next = new Map<string, AppliedResource>();
    for (const { key, value } of judged) {
      const good = value ?? this.#values.get(key);
      if (good !== undefined) next.set(key, good);
    }
    this.#values = next;
    return [...next.values()];
  }
}
