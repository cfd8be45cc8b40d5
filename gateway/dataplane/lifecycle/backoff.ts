export interface Backoff {
  readonly baseMs: number;
  readonly capMs: number;
}

/**
 * Doubles with every failure (1, 2, …) up to the cap. Half of it is random (`jitter`, 0 to 1): a fleet that lost a peer in one
 * instant must not come back to it in one instant.
 */
export function backoffMs(failures: number, jitter: number, { baseMs, capMs }: Backoff): number {
  const full = Math.min(capMs, baseMs * 2 ** Math.min(failures - 1, 30));
  return full / 2 + (full / 2) * jitter;
}

/** The same where the other side said how long it wants to be left alone: never sooner, and up to a quarter later. */
export function retryDelayMs(failures: number, jitter: number, backoff: Backoff, retryAfterMs = 0): number {
  return Math.max(backoffMs(failures, jitter, backoff), retryAfterMs * (1 + jitter / 4));
}
