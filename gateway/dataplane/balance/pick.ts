/** What the balancer looks at. */
export interface Load {
  /** Streams under way. */
  readonly streams: number;
}

/**
 * Power of two choices: the less loaded of two drawn at random; total over any non-empty list. `random` in [0, 1) is
 * used for both draws (its high and its low part), so a pick costs one random number.
 */
export function pickLeastLoaded<T extends Load>(candidates: readonly T[], random: number): T | undefined {
  const { length } = candidates;
  if (length < 2) return candidates[0];
  const first = Math.floor(random * length);
  const rest = random * length - first;
  const second = (first + 1 + Math.floor(rest * (length - 1))) % length;
  const a = candidates[first];
  const b = candidates[second];
  if (a === undefined || b === undefined) return a ?? b;
  return b.streams < a.streams ? b : a;
}

/**
 * The first with room below `full` streams, or the least loaded when all are full: streams that share a session share its
 * TLS records, writes and wakeups, which is where a proxied request's cost lies.
 */
export function pickPacked<T extends Load>(candidates: readonly T[], full: number): T | undefined {
  let least: T | undefined;
  for (const candidate of candidates) {
    if (candidate.streams < full) return candidate;
    if (least === undefined || candidate.streams < least.streams) least = candidate;
  }
  return least;
}
