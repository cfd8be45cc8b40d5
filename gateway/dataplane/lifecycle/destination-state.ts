/**
 * Whether one cluster's share of a service may be used, with hysteresis: it is lost at once, but has to stay ready for a while
 * before it gets traffic back, which then grows; one that comes and goes waits twice as long each time.
 */
export type DestinationState =
  | { readonly kind: "admitted"; readonly sinceMs: number; readonly flaps: number }
  | { readonly kind: "lost"; readonly flaps: number }
  | { readonly kind: "returning"; readonly sinceMs: number; readonly flaps: number };

export type DestinationEvent = "ready" | "unready" | "tick";

export interface FailbackConfig {
  /** How long it must have been ready before the first request returns. */
  readonly delayMs: number;
  /** Over how long its share then grows to the whole. */
  readonly rampMs: number;
}

// Longer than a rolling restart's gaps, short enough that nobody stays on the far cluster for long.
export const DEFAULT_FAILBACK: FailbackConfig = { delayMs: 5_000, rampMs: 10_000 };
// What has been steady for this long has its flaps forgotten.
const CALM_MS = 60_000;
const MAX_FLAPS = 5;

/** Known from the first moment on: nothing has to return. */
export const ADMITTED: DestinationState = { kind: "admitted", sinceMs: Number.NEGATIVE_INFINITY, flaps: 0 };

export function transition(
  s: DestinationState,
  e: DestinationEvent,
  now: number,
  c: FailbackConfig,
): DestinationState {
  switch (s.kind) {
    case "admitted": // => lost
      if (e !== "unready") return s;
      return { kind: "lost", flaps: now - s.sinceMs >= CALM_MS ? 0 : Math.min(MAX_FLAPS, s.flaps + 1) };
    case "lost": // => returning
      return e === "ready" ? { kind: "returning", sinceMs: now, flaps: s.flaps } : s;
    case "returning": // => admitted | lost
      if (e === "unready") return { kind: "lost", flaps: Math.min(MAX_FLAPS, s.flaps + 1) };
      return now - s.sinceMs >= holdMs(s.flaps, c) + c.rampMs
        ? { kind: "admitted", sinceMs: now, flaps: s.flaps }
        : s;
  }
}

/** What part of its readiness counts now, 0 to 1. */
export function admittedPart(s: DestinationState, now: number, c: FailbackConfig): number {
  switch (s.kind) {
    case "admitted":
      return 1;
    case "lost":
      return 0;
    case "returning": {
      const rampedMs = now - s.sinceMs - holdMs(s.flaps, c);
      if (rampedMs < 0) return 0;
      return c.rampMs === 0 ? 1 : Math.min(1, rampedMs / c.rampMs);
    }
  }
}

function holdMs(flaps: number, { delayMs }: FailbackConfig): number {
  return delayMs * 2 ** flaps;
}
