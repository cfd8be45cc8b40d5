import { type Backoff, backoffMs } from "../../gateway/discovery/index.ts";
import type { Clock, Random, Timer } from "../../gateway/process/clock.ts";

export interface WorkQueueOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Keys worked on at once. */
  readonly parallel: number;
  /** Answers whether it is done; `false` asks for another try later. Never rejects. */
  readonly work: (key: string) => Promise<boolean>;
  readonly backoff?: Backoff;
}

const BACKOFF: Backoff = { baseMs: 100, capMs: 30_000 };

/** Keys to work on: each once however often it was added, never twice at the same time, failures later and later. */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #due = new Set<string>();
  readonly #running = new Set<string>();
  /** Added while it was worked on. */
  readonly #again = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, Timer>();
  #idle: (() => void)[] = [];
  #stopped = false;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
  }

  add(key: string): void {
    if (this.#stopped) return;
    if (this.#running.has(key)) {
      this.#again.add(key);
      return;
    }
    this.#timers.get(key)?.cancel();
    this.#timers.delete(key);
    this.#due.add(key);
    this.#pump();
  }

  get size(): number {
    return this.#due.size + this.#running.size + this.#timers.size;
  }

  /** When nothing is due, under way or waiting for another try. */
  whenIdle(): Promise<void> {
    return this.size === 0 ? Promise.resolve() : new Promise((resolve) => this.#idle.push(resolve));
  }

  stop(): void {
    this.#stopped = true;
    this.#due.clear();
    for (const timer of this.#timers.values()) timer.cancel();
    this.#timers.clear();
  }

  #pump(): void {
    for (const key of this.#due) {
      if (this.#running.size >= this.#options.parallel) return;
      this.#due.delete(key);
      this.#running.add(key);
      void this.#options.work(key).then((done) => this.#finished(key, done));
    }
    if (this.size > 0) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  #finished(key: string, done: boolean): void {
    this.#running.delete(key);
    if (this.#stopped) return;
    if (done) this.#failures.delete(key);
    else this.#failures.set(key, (this.#failures.get(key) ?? 0) + 1);
    if (this.#again.delete(key) && done) this.#due.add(key);
    else if (!done) this.#retry(key);
    this.#pump();
  }

  #retry(key: string): void {
    const { clock, random, backoff = BACKOFF } = this.#options;
    const delay = backoffMs(this.#failures.get(key) ?? 1, random(), backoff);
    this.#timers.set(
      key,
      clock.after(delay, () => {
        this.#timers.delete(key);
        this.#due.add(key);
        this.#pump();
      }),
    );
  }
}
