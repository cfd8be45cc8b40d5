/** A Gateway API duration (GEP-2257): one to four numbers with units, such as `10s`, `1m30s`, `250ms`. */
export type Duration = string;

export const DURATION = /^([0-9]{1,5}(h|m|s|ms)){1,4}$/;

const UNIT_MS: { readonly [unit: string]: number } = { h: 3_600_000, m: 60_000, s: 1_000, ms: 1 };

/** `text` was validated against `DURATION`. */
export function durationMs(text: Duration): number {
  let sum = 0;
  for (const [, number, unit] of text.matchAll(/([0-9]+)(h|ms|m|s)/g))
    sum += Number(number) * (UNIT_MS[unit ?? ""] ?? 0);
  return sum;
}

const MAX_TIMER_MS = 0x7fff_ffff;

/** For a timer: beyond 24 days it would fire at once. */
export function timerMs(text: Duration): number {
  return Math.min(durationMs(text), MAX_TIMER_MS);
}
