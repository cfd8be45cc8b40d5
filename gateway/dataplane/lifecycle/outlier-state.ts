/**
 * Passive health of one service at one cluster, or of one of its endpoints there, judged by the answers of real requests. The
 * key always names a service: a gateway that carries many is never ejected for one of them.
 */
export type OutlierState =
  | { readonly kind: "admitting"; readonly failures: number }
  | { readonly kind: "ejected"; readonly untilMs: number; readonly backoffMs: number }
  | { readonly kind: "probing"; readonly backoffMs: number };

export type OutlierEvent = "success" | "failure" | "tick";

export interface OutlierConfig {
  /** Failures in a row that eject. */
  readonly consecutiveErrors: number;
  readonly baseEjectionMs: number;
  readonly maxEjectionMs: number;
}

export const DEFAULT_OUTLIER: OutlierConfig = {
  consecutiveErrors: 5,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
};

export const ADMITTING: OutlierState = { kind: "admitting", failures: 0 };

/** `mayEject`: whether the share of ejected ones leaves room for one more (`mayEject` below). */
export function transition(
  s: OutlierState,
  e: OutlierEvent,
  now: number,
  c: OutlierConfig,
  mayEject: boolean,
): OutlierState {
  switch (s.kind) {
    case "admitting": // => admitting | ejected
      if (e === "success") return s.failures === 0 ? s : ADMITTING;
      if (e === "tick") return s;
      if (s.failures + 1 < c.consecutiveErrors) return { kind: "admitting", failures: s.failures + 1 };
      if (mayEject) return eject(c.baseEjectionMs, now);
      // One short of the limit, so that the next failure ejects as soon as there is room.
      return s.failures === c.consecutiveErrors - 1
        ? s
        : { kind: "admitting", failures: c.consecutiveErrors - 1 };
    case "ejected": // => probing. Stragglers that answer while it is ejected prove nothing: only time moves it.
      return e === "tick" && now >= s.untilMs ? { kind: "probing", backoffMs: s.backoffMs } : s;
    case "probing": // => admitting | ejected
      if (e === "success") return ADMITTING;
      return e === "failure" ? eject(Math.min(s.backoffMs * 2, c.maxEjectionMs), now) : s;
  }
}

function eject(backoffMs: number, now: number): OutlierState {
  return { kind: "ejected", untilMs: now + backoffMs, backoffMs };
}

/** Whether one more of `total` may be ejected beside `ejected`: never all of them, whatever the percentage. */
export function mayEject(ejected: number, total: number, maxEjectionPercent: number): boolean {
  return ejected + 1 < total && (ejected + 1) * 100 <= total * maxEjectionPercent;
}
