/** Time as the registry asks for it, so that tests can turn the hands themselves. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  after(ms: number, run: () => void): { cancel(): void };
}

export function timestamp(ms: number): string {
  return new Date(ms).toISOString();
}
