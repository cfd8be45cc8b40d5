const SLOTS = 64;

/** How many were counted within the last `windowMs`, never too few: up to a 64th of the window more. */
export class WindowCount {
  readonly #slotMs: number;
  readonly #slots = new Float64Array(SLOTS + 1);
  #slot: number;
  #sum = 0;

  constructor(windowMs: number, now: number) {
    this.#slotMs = Math.max(1, windowMs / SLOTS);
    this.#slot = Math.floor(now / this.#slotMs);
  }

  add(count: number, now: number): void {
    this.#forget(now);
    this.#sum += count;
    const at = this.#slot % this.#slots.length;
    this.#slots[at] = (this.#slots[at] ?? 0) + count;
  }

  sum(now: number): number {
    this.#forget(now);
    return this.#sum;
  }

  #forget(now: number): void {
    const slot = Math.floor(now / this.#slotMs);
    const { length } = this.#slots;
    for (let passed = Math.min(length, slot - this.#slot); passed > 0; passed--) {
      const at = (slot - passed + 1) % length;
      this.#sum -= this.#slots[at] ?? 0;
      this.#slots[at] = 0;
    }
    // A clock that steps back counts on where it was.
    this.#slot = Math.max(slot, this.#slot);
  }
}
