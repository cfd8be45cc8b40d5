import type { CanaryReport, CanaryStats, RolloutResource } from "../model/resource.ts";
import { NO_STATS } from "./rollout.ts";

interface Watched {
  /** The step, by when it began, that the baselines belong to. */
  since: string;
  startedAt: number;
  readonly latest: Map<string, CanaryStats>;
  baselines: Map<string, CanaryStats>;
}

/**
 * What members measured of each canary since its step began. It lives in memory: a registry that starts anew begins each step's
 * measuring anew, so that a rollout stands still while nobody watches.
 */
export class RolloutWatch {
  readonly #rollouts = new Map<string, Watched>();

  /** `member`: unique in the federation. */
  report(member: string, reports: readonly CanaryReport[]): void {
    for (const { name, ...stats } of reports) this.#rollouts.get(name)?.latest.set(member, stats);
  }

  /** Since this step began, or since we look at it. */
  look(rollout: RolloutResource, now: number): { readonly stats: CanaryStats; readonly elapsedMs: number } {
    const name = rolloutName(rollout);
    const since = rollout.progress?.since ?? "";
    let watched = this.#rollouts.get(name);
    if (watched === undefined) {
      watched = { since, startedAt: now, latest: new Map(), baselines: new Map() };
      this.#rollouts.set(name, watched);
    } else if (watched.since !== since) {
      watched.since = since;
      watched.startedAt = now;
      watched.baselines = new Map(watched.latest);
    }
    let sum = NO_STATS;
    for (const [member, latest] of watched.latest) {
      // The first that is heard of a member may be about long ago.
      if (!watched.baselines.has(member)) watched.baselines.set(member, latest);
      sum = add(sum, sinceBaseline(latest, watched.baselines.get(member) ?? NO_STATS));
    }
    return { stats: sum, elapsedMs: now - watched.startedAt };
  }

  forget(name: string): void {
    this.#rollouts.delete(name);
  }
}

/** `east/shop/cart`: as the snapshots call it. */
export function rolloutName({ metadata }: RolloutResource): string {
  return `${metadata.cluster}/${metadata.namespace}/${metadata.name}`;
}

/** A process that started anew counts from nothing. */
function sinceBaseline(latest: CanaryStats, baseline: CanaryStats): CanaryStats {
  if (latest.requests < baseline.requests) return latest;
  return {
    requests: latest.requests - baseline.requests,
    failures: latest.failures - baseline.failures,
    latency: latest.latency.map((count, index) => count - (baseline.latency[index] ?? 0)),
  };
}

function add(a: CanaryStats, b: CanaryStats): CanaryStats {
  const length = Math.max(a.latency.length, b.latency.length);
  return {
    requests: a.requests + b.requests,
    failures: a.failures + b.failures,
    latency: Array.from({ length }, (_, index) => (a.latency[index] ?? 0) + (b.latency[index] ?? 0)),
  };
}
