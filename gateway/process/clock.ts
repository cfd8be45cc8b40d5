import { performance } from "node:perf_hooks";

/** Time as code asks for it, so that tests can turn the hands themselves. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  after(ms: number, run: () => void): Timer;
}

export interface Timer {
  /** Harmless when the timer has run already. */
  cancel(): void;
}

/** 0 <= x < 1 */
export type Random = () => number;

// Longer delays overflow to 1 ms in Node.
const MAX_DELAY_MS = 0x7fff_ffff;

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, Math.min(Math.max(0, ms), MAX_DELAY_MS));
    return { cancel: () => clearTimeout(timer) };
  },
};

/** Passes evenly, whatever the clock is set to, and has fractions. By import: the global is a getter that costs as much as the reading. */
export const monotonicMs = (): number => performance.now();

export const systemRandom: Random = () => Math.random();
