/** One who waits for a connection, or for a tunnel to open one through. */
export interface Waiter {
  /** Goes on, or is refused where that is not `worth` trying; answers whether it still waits. */
  tryAgain(worth: boolean): boolean;
  /** `ended`: sends no more, which a client that only ended its half says in the same words as one that left. */
  readonly client: "here" | "ended" | "gone";
  /** One that is `ended` is refused, so that another may wait. */
  giveWay?(): void;
}

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

  /**
   * Frees a place for another: that of one who is gone, or else of the first who may be. The latter is not refused any sooner, since a
   * client that ended its half may well wait for its answer.
   */
  makePlace(): boolean {
    const gone = this.#waiters.findIndex(({ client }) => client === "gone");
    const index = gone === -1 ? this.#waiters.findIndex(({ client }) => client === "ended") : gone;
    if (index === -1) return false;
    const [waiter] = this.#waiters.splice(index, 1);
    if (gone === -1) waiter?.giveWay?.();
    return true;
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
      if (first.tryAgain(true)) {
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
