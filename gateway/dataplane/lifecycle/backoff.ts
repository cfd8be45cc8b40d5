// The first retry comes fast, since most losses are restarts; the cap keeps a returned peer's recovery under two seconds.
const FIRST_MS = 50;
const CAP_MS = 1_000;

/** Full jitter over an exponential ceiling, so that peers of a returned gateway do not come back in step. `random` in [0, 1). */
export function backoffMs(attempt: number, random: number): number {
  const ceiling = Math.min(CAP_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return Math.round(ceiling * (0.5 + random / 2));
}
