/** One place where a service can be had: another cluster, or a version there. */
export interface Destination {
  /** 0 is tried first; the next level takes what the levels before it cannot carry. */
  readonly priority: number;
  /** Share within its level, before readiness. */
  readonly weight: number;
  /** Part of its endpoints that serve, 0 to 1, held back while it returns (see `lifecycle/destination-state.ts`). */
  readonly readiness: number;
  /** The same without being held back: what is believed when nothing else is left. */
  readonly rawReadiness: number;
}

export interface FailoverConfig {
  /**
   * A level is full as long as this many times its ready part is at least its whole. Envoy's figure, 1.4: up to 29 % of the
   * endpoints may be missing before traffic leaves the level, since what remains can carry that much more.
   */
  readonly overprovisioning: number;
  /**
   * Below this ready part, and when all levels together cannot carry the load, a level's readiness is disregarded: to spread the
   * load over endpoints that may be dead loses less than to crush the few that are left (Envoy's panic threshold).
   */
  readonly panicThreshold: number;
}

export const DEFAULT_FAILOVER: FailoverConfig = { overprovisioning: 1.4, panicThreshold: 0.5 };

interface Level {
  readonly priority: number;
  weight: number;
  ready: number;
}

/**
 * What part of the traffic each destination gets, in the order given; they add up to 1. Priorities and weights compose: a
 * level's load follows its readiness, and within the level it is divided by weight times readiness. So a cluster that
 * loses half of its endpoints gives its share to its level first, and only what the level cannot carry to the next.
 */
export function divideTraffic(
  destinations: readonly Destination[],
  config: FailoverConfig = DEFAULT_FAILOVER,
): readonly number[] {
  if (destinations.length === 0) return [];
  const damped = divide(destinations, ({ readiness }) => readiness, config);
  if (damped !== undefined) return damped;
  // Nothing is fully trusted: what has just come back is better than what is known to be gone.
  return divide(destinations, ({ rawReadiness }) => rawReadiness, config) ?? byWeight(destinations);
}

function divide(
  destinations: readonly Destination[],
  readinessOf: (destination: Destination) => number,
  { overprovisioning, panicThreshold }: FailoverConfig,
): readonly number[] | undefined {
  const levels = levelsOf(destinations, readinessOf);
  const health = levels.map(({ ready, weight }) =>
    weight === 0 ? 0 : Math.min(1, (overprovisioning * ready) / weight),
  );
  const total = health.reduce((sum, part) => sum + part, 0);
  if (total === 0) return undefined;
  let left = 1;
  const loads = new Map<number, { readonly share: number; readonly panic: boolean; readonly level: Level }>();
  levels.forEach((level, index) => {
    const healthy = health[index] ?? 0;
    const share = total < 1 ? healthy / total : Math.min(healthy, left);
    left -= share;
    const panic = total < 1 && level.ready / level.weight < panicThreshold;
    loads.set(level.priority, { share, panic, level });
  });
  return destinations.map((destination) => {
    const load = loads.get(destination.priority);
    if (load === undefined || load.share <= 0) return 0;
    const { share, panic, level } = load;
    return panic
      ? (share * destination.weight) / level.weight
      : (share * destination.weight * readinessOf(destination)) / level.ready;
  });
}

function levelsOf(
  destinations: readonly Destination[],
  readinessOf: (destination: Destination) => number,
): readonly Level[] {
  const levels = new Map<number, Level>();
  for (const destination of destinations) {
    const { priority, weight } = destination;
    const level = levels.get(priority) ?? { priority, weight: 0, ready: 0 };
    level.weight += weight;
    level.ready += weight * readinessOf(destination);
    levels.set(priority, level);
  }
  return [...levels.values()].sort((a, b) => a.priority - b.priority);
}

/** Everything is gone, as far as is known: the first level gets it all, since what is known may be old. */
function byWeight(destinations: readonly Destination[]): readonly number[] {
  const weighed = destinations.filter(({ weight }) => weight > 0);
  const first = Math.min(...weighed.map(({ priority }) => priority));
  const level = weighed.filter(({ priority }) => priority === first);
  const total = level.reduce((sum, { weight }) => sum + weight, 0);
  return destinations.map(({ priority, weight }) => (priority === first && total > 0 ? weight / total : 0));
}

/** The index whose part of [0, 1) `random` falls into; the last one with a part where rounding leaves a gap. */
export function pickShare(shares: readonly number[], random: number): number {
  let rest = random;
  let last = -1;
  for (let index = 0; index < shares.length; index++) {
    const share = shares[index] ?? 0;
    if (share <= 0) continue;
    if (rest < share) return index;
    rest -= share;
    last = index;
  }
  return last;
}
