import type { Clock } from "./clock.ts";

/** Members that wait for news, all clusters together, and of one cluster: one sick cluster must not starve the rest. */
export interface WakeupLimits {
  readonly total: number;
  readonly perName: number;
}

/** Waiting for news of one name. Nothing is queued: whoever wakes reads the current state. */
export class Wakeups {
  readonly #clock: Clock;
  readonly #limits: WakeupLimits;
  readonly #byName = new Map<string, Set<() => void>>();
  #total = 0;

  constructor(clock: Clock, limits: WakeupLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  get waiting(): number {
    return this.#total;
  }

  /** Resolves at `wake(name)`, after `ms`, or when `signal` aborts. `undefined`: a limit is reached. */
  wait(name: string, ms: number, signal: AbortSignal): Promise<void> | undefined {
    const waiters = this.#byName.get(name) ?? new Set();
    if (this.#total >= this.#limits.total || waiters.size >= this.#limits.perName) return undefined;
    if (signal.aborted) return Promise.resolve();
    this.#byName.set(name, waiters);
    this.#total += 1;
    return new Promise((resolve) => {
      const done = (): void => {
        if (!waiters.delete(done)) return;
        this.#total -= 1;
        if (waiters.size === 0) this.#byName.delete(name);
        timer.cancel();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = this.#clock.after(ms, done);
      signal.addEventListener("abort", done, { once: true });
      waiters.add(done);
    });
  }

  wake(name: string): void {
    for (const done of [...(this.#byName.get(name) ?? [])]) done();
  }

  wakeAll(): void {
    for (const name of [...this.#byName.keys()]) this.wake(name);
  }
}
