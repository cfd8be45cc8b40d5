import { durationMs } from "../model/duration.ts";
import { problem, type Problem } from "../model/problem.ts";
import { CANARY_LATENCY_BOUNDS_MS, type CanaryStats, type RolloutResource } from "../model/resource.ts";
import type { Result } from "../model/result.ts";
import type { RolloutAnalysis, RolloutProgress, RolloutStep } from "../model/traffic-policy.ts";

export type RolloutAction = "pause" | "promote" | "abort";

const DEFAULT_MIN_REQUESTS = 20;
export const NO_STATS: CanaryStats = { requests: 0, failures: 0, latency: [] };

type Verdict = { readonly kind: "good" | "wait" } | { readonly kind: "bad"; readonly reason: string };

/**
 * Where a rollout stands next; the same object when nothing changes. `stats` are the canary's since its step began, `elapsedMs`
 * is how long the step has been under the eyes of a registry: time in which none ran does not count.
 */
export function advance(
  { spec, progress }: RolloutResource,
  stats: CanaryStats,
  elapsedMs: number,
  time: string,
): RolloutProgress {
  if (progress === undefined)
    return spec.mode === "observe" ? observing(spec.steps, time) : enter(spec.steps, 0, time);
  if (progress.phase !== "Progressing" && progress.phase !== "Paused") return progress;
  const step = spec.steps[progress.step];
  const verdict = judge(spec.analysis, stats, progress.weight);
  if (verdict.kind === "bad") return ended("RolledBack", progress.step, time, verdict.reason);
  if (progress.phase === "Paused" || step === undefined || verdict.kind === "wait") return progress;
  const { pause } = step;
  if (pause !== undefined && elapsedMs < durationMs(pause.duration ?? "0s")) return progress;
  return enter(spec.steps, progress.step + 1, time);
}

/** What an operator asks for, if the rollout permits it where it stands. */
export function command(
  { spec, progress }: RolloutResource,
  action: RolloutAction,
  actor: string,
  time: string,
): Result<RolloutProgress, Problem> {
  if (progress === undefined) return refused(action, "has not begun yet");
  const { phase, step } = progress;
  if (phase === "Observing") return refused(action, "only observes: apply it with mode: enforce");
  const isOver = phase !== "Progressing" && phase !== "Paused";
  switch (action) {
    case "pause":
      if (phase === "Progressing")
        return {
          ok: true,
          value: { ...progress, phase: "Paused", since: time, message: `paused by ${actor}` },
        };
      return refused(action, isOver ? `is over: ${phase}` : "is paused already");
    case "promote":
      if (phase === "Succeeded") return refused(action, "has succeeded already");
      return { ok: true, value: enter(spec.steps, promoted(spec.steps, phase, step), time) };
    case "abort":
      return isOver
        ? refused(action, `is over: ${phase}`)
        : { ok: true, value: ended("Aborted", step, time, `aborted by ${actor}`) };
  }
}

/**
 * The step that follows. One that was paused by hand takes up its step again, whose analysis nobody has seen the end of; one that went
 * back begins anew, since the version may have been mended meanwhile.
 */
function promoted(
  steps: RolloutResource["spec"]["steps"],
  phase: RolloutProgress["phase"],
  step: number,
): number {
  if (phase === "Progressing") return step + 1;
  if (phase === "Paused") return waits(steps[step]) ? step + 1 : step;
  return 0;
}

function waits(step: RolloutStep | undefined): boolean {
  return step?.pause !== undefined && step.pause.duration === undefined;
}

function enter(steps: RolloutResource["spec"]["steps"], index: number, time: string): RolloutProgress {
  const step = steps[index];
  if (step === undefined)
    return {
      phase: "Succeeded",
      step: steps.length,
      weight: 100,
      since: time,
      message: "every request goes to the canary",
    };
  const isWaiting = waits(step);
  const of = `step ${index + 1} of ${steps.length}`;
  return {
    phase: isWaiting ? "Paused" : "Progressing",
    step: index,
    weight: step.setWeight,
    since: time,
    message: isWaiting ? `${of}: waits to be promoted` : `${of}: ${step.setWeight} % to the canary`,
  };
}

/** It stays there: a canary that gets nothing cannot be judged. In force it begins anew, as whenever it is changed. */
function observing(steps: RolloutResource["spec"]["steps"], time: string): RolloutProgress {
  const weight = steps[0]?.setWeight ?? 0;
  const message = `step 1 of ${steps.length}: only observes, ${weight} % would go to the canary`;
  return { phase: "Observing", step: 0, weight: 0, since: time, message };
}

function ended(
  phase: "RolledBack" | "Aborted",
  step: number,
  time: string,
  message: string,
): RolloutProgress {
  return { phase, step, weight: 0, since: time, message };
}

function judge(analysis: RolloutAnalysis | undefined, stats: CanaryStats, weight: number): Verdict {
  if (analysis === undefined || weight === 0) return { kind: "good" };
  if (stats.requests < (analysis.minRequests ?? DEFAULT_MIN_REQUESTS)) return { kind: "wait" };
  const rate = (100 * (stats.requests - stats.failures)) / stats.requests;
  if (analysis.successRate !== undefined && rate < analysis.successRate) {
    const text = `${rate.toFixed(2)} % of ${stats.requests} requests succeeded, ${analysis.successRate} % are demanded`;
    return { kind: "bad", reason: text };
  }
  if (analysis.latency !== undefined) {
    const { percentile, max } = analysis.latency;
    const value = percentileMs(stats.latency, percentile);
    if (value > durationMs(max)) {
      const shown = Number.isFinite(value) ? `${value} ms` : "more than 10 s";
      return {
        kind: "bad",
        reason: `the ${percentile}th percentile of the latency is ${shown}, ${max} is the most`,
      };
    }
  }
  return { kind: "good" };
}

/** Upper bound of the bucket that the percentile falls into: a canary is never judged faster than it is. */
export function percentileMs(latency: readonly number[], percentile: number): number {
  const total = latency.reduce((sum, count) => sum + count, 0);
  if (total === 0) return 0;
  let seen = 0;
  for (const [index, count] of latency.entries()) {
    seen += count;
    if (seen * 100 >= total * percentile) return CANARY_LATENCY_BOUNDS_MS[index] ?? Number.POSITIVE_INFINITY;
  }
  return Number.POSITIVE_INFINITY;
}

function refused(action: RolloutAction, why: string): { readonly ok: false; readonly error: Problem } {
  return { ok: false, error: problem("rollout_state", `it cannot ${action}: the rollout ${why}`) };
}
