/** Tries to go on; answers whether it still waits. */
export type Waiter = () => boolean;

/** Closes a connection that serves nobody just now; answers whether there was one. */
export type Spare = () => boolean;

/**
 * Who waits for a connection where no more of them may be opened. An idle one serves its own caller, version of HTTP and endpoint only:
 * where the one that waits longest has no use for it, it makes room for another.
 */
export class ConnectionQueue {
  readonly #waiters: Waiter[] = [];
  readonly #spares = new Set<Spare>();
  #isWaking = false;

  get length(): number {
    return this.#waiters.length;
  }

  add(waiter: Waiter): void {
    this.#waiters.push(waiter);
    this.#makeRoom();
  }

  /** Where idle connections may be found. */
  offer(spare: Spare): () => void {
    this.#spares.add(spare);
    return () => this.#spares.delete(spare);
  }

  /** A connection is free, or may be opened. */
  wake(): void {
    // Who goes on may open and close connections: the loop that runs sees to what comes of it.
    if (this.#isWaking) return;
    this.#isWaking = true;
    for (let first = this.#waiters[0]; first !== undefined; first = this.#waiters[0]) {
      if (first()) {
        this.#makeRoom();
        break;
      }
      this.#waiters.shift();
    }
    this.#isWaking = false;
  }

  #makeRoom(): void {
    for (const closeIdle of this.#spares) if (closeIdle()) return;
  }
}
