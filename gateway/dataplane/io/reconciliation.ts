/** One reconciliation at a time; what changes meanwhile is seen by the next, until it is closed. */
export class Reconciliation {
  readonly #reconcile: () => Promise<void>;
  #running: Promise<void> | undefined;
  #again = false;
  #closed = false;

  constructor(reconcile: () => Promise<void>) {
    this.#reconcile = reconcile;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Resolves when what holds now has been seen. */
  request(): Promise<void> {
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  requestIn(delayMs: number): void {
    setTimeout(() => void this.request(), delayMs).unref();
  }

  close(): void {
    this.#closed = true;
  }

  async #run(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false;
      await this.#reconcile();
    }
  }
}
