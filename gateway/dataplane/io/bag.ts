/** Something that is in at most one bag at a time. */
export interface Bagged {
  /** Where it is in its bag; -1: in none. */
  bagSlot: number;
}

/**
 * A set for what comes and goes with requests and connections. Not a `Set`: each time V8 rebuilds the table of one, the old table
 * keeps a pointer to the new, so that from the first table that grew old on all of them, and all that was in them, outlive every
 * scavenge until the whole heap is marked.
 */
export class Bag<T extends Bagged> {
  readonly #items: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(item: T): void {
    if (item.bagSlot !== -1) return;
    item.bagSlot = this.#size;
    this.#items[this.#size] = item;
    this.#size += 1;
  }

  delete(item: T): void {
    const slot = item.bagSlot;
    if (slot === -1 || this.#items[slot] !== item) return;
    this.#size -= 1;
    const last = this.#items[this.#size];
    this.#items[this.#size] = undefined;
    item.bagSlot = -1;
    if (last === undefined || last === item) return;
    this.#items[slot] = last;
    last.bagSlot = slot;
  }

  /** All that are in it now, in no order; whoever goes through them may change the bag. */
  all(): readonly T[] {
    return this.#items.slice(0, this.#size) as T[];
  }
}
