import type { Clock } from "../../gateway/process/clock.ts";

export interface ManualClock extends Clock {
  /** Turns the hands, running every timer that falls due on the way, in order of time. */
  advance(ms: number): void;
  /** The same, letting promises settle after every timer, for code that awaits between its timers. */
  advanceAsync(ms: number): Promise<void>;
  readonly pending: number;
  /** Until the next timer falls due; `undefined`: none is set. */
  nextInMs(): number | undefined;
}

interface Entry {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

export function createManualClock(startMs = 1_800_000_000_000): ManualClock {
  const entries = new Set<Entry>();
  let now = startMs;
  let order = 0;
  const nextDue = (limit: number): Entry | undefined =>
    [...entries].filter(({ at }) => at <= limit).sort((a, b) => a.at - b.at || a.order - b.order)[0];
  const runOne = (limit: number): boolean => {
    const due = nextDue(limit);
    if (due === undefined) return false;
    entries.delete(due);
    now = Math.max(now, due.at);
    due.run();
    return true;
  };
  return {
    now: () => now,
    after(ms, run) {
      const entry = { at: now + Math.max(0, ms), order: order++, run };
      entries.add(entry);
      return { cancel: () => void entries.delete(entry) };
    },
    advance(ms) {
      const limit = now + ms;
      while (runOne(limit));
      now = limit;
    },
    async advanceAsync(ms) {
      const limit = now + ms;
      await settle();
      while (runOne(limit)) await settle();
      now = limit;
      await settle();
    },
    nextInMs() {
      const next = nextDue(Number.POSITIVE_INFINITY);
      return next === undefined ? undefined : next.at - now;
    },
    get pending() {
      return entries.size;
    },
  };
}

// Wall time, against which only a broken test runs.
const PATIENCE_MS = 10_000;

/** Waits for what ends when the disk says so, not when the clock does. */
export async function eventually(done: () => boolean): Promise<void> {
  const start = performance.now();
  while (!done()) {
    if (performance.now() - start > PATIENCE_MS) throw new Error(`still not so: ${done.toString()}`);
    await settle(1);
  }
}

/** Lets everything that is ready to go on do so; file operations in flight take a few turns. */
export async function settle(turns = 5): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}
