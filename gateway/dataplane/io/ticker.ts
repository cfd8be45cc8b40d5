/** One timer for a listener's connections: deadlines are checked once a second, which is precise enough for timeouts. */
export const TICK_MS = 1_000;

export interface Expiring {
  /** 0: never. */
  readonly deadlineMs: number;
  expire(): void;
}

export function expireDue(connections: Iterable<Expiring>, now: number): void {
  for (const connection of connections) {
    if (connection.deadlineMs !== 0 && now >= connection.deadlineMs) connection.expire();
  }
}
