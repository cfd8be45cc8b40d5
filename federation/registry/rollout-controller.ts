import { ok, type Result } from "../model/result.ts";
import type { CanaryReport, RolloutResource } from "../model/resource.ts";
import type { RolloutAnswer } from "../model/wire/api.ts";
import type { Plan, Planned, Refusal } from "./change.ts";
import { type Clock, timestamp } from "./clock.ts";
import type { Ledger } from "./ledger.ts";
import { refuse } from "./plan/refuse.ts";
import { advance, command, type RolloutAction } from "./rollout.ts";
import { rolloutName, RolloutWatch } from "./rollout-watch.ts";
import { rolloutVersions } from "./rollout-versions.ts";
import { type FederationState, findResource, type ItemKey, keyText } from "./state.ts";

/** A step's pause is kept to about this. */
const LOOK_MS = 1_000;
const ACTOR = "rollout";

/**
 * Moves rollouts on, inside the registry: looks when members report what they measured, and once a second while a rollout is
 * under way. It has no process of its own; without a registry every rollout stays at its step.
 */
export class RolloutController {
  readonly #ledger: Ledger;
  readonly #clock: Clock;
  readonly #watch = new RolloutWatch();
  #timer: { cancel(): void } | undefined;
  #looking: Promise<void> | undefined;
  #closed = false;

  constructor(ledger: Ledger, clock: Clock) {
    this.#ledger = ledger;
    this.#clock = clock;
  }

  report(cluster: string, member: string, canaries: readonly CanaryReport[] = []): void {
    this.#watch.report(`${cluster}/${member}`, canaries);
    void this.look();
  }

  /** Moves on what can move; looks again while there is something to look at. */
  look(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#looking ??= this.#lookOnce().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  async command(
    actor: string,
    key: ItemKey,
    action: RolloutAction,
    dryRun: boolean,
  ): Promise<Result<RolloutAnswer, Refusal>> {
    const done = await this.#ledger.execute({ actor, dryRun }, (state): Planned<RolloutAnswer> => {
      const rollout = findResource(state, key);
      if (rollout?.kind !== "Rollout") return refuse("not_found", `there is no ${keyText(key)}`);
      const next = command(rollout, action, actor, timestamp(this.#clock.now()));
      if (!next.ok) return { ok: false, error: { problem: next.error } };
      const moved = { ...rollout, progress: next.value };
      return ok({
        ...draftOf(moved, `rollout.${action}`),
        answer: ({ revision }) => ({ revision, dryRun, name: rolloutName(moved), progress: next.value }),
      });
    });
    if (done.ok && !dryRun) void this.look();
    return done;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }

  async #lookOnce(): Promise<void> {
    const active = activeRollouts(this.#ledger.state);
    for (const rollout of active) await this.#move(rollout);
    if (active.length > 0 && this.#timer === undefined) this.#schedule();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#clock.after(LOOK_MS, () => {
      this.#timer = undefined;
      void this.look();
    });
  }

  async #move(rollout: RolloutResource): Promise<void> {
    const { state } = this.#ledger;
    if (rollout.progress === undefined && rolloutVersions(state, rollout).missing.length > 0) return;
    const now = this.#clock.now();
    const { stats, elapsedMs } = this.#watch.look(rollout, now);
    const next = advance(rollout, stats, elapsedMs, timestamp(now));
    if (next === rollout.progress) return;
    // Planned again on the state that is current then: what an operator did meanwhile stands.
    await this.#ledger.execute({ actor: ACTOR }, (state): Planned<undefined> => {
      const current = findResource(state, keyOf(rollout));
      if (current !== rollout) return ok({ answer: () => undefined });
      return ok({ ...draftOf({ ...rollout, progress: next }, "rollout.advance"), answer: () => undefined });
    });
  }
}

function draftOf(rollout: RolloutResource, action: string): Pick<Plan<unknown>, "draft"> {
  return {
    draft: {
      puts: [{ kind: "Applied", value: rollout }],
      deletes: [],
      audit: { action, targets: [keyText(keyOf(rollout))] },
    },
  };
}

function keyOf({ metadata }: RolloutResource): ItemKey {
  const { cluster, namespace, name } = metadata;
  return { kind: "Rollout", cluster, namespace, name };
}

function activeRollouts(state: FederationState): readonly RolloutResource[] {
  const active: RolloutResource[] = [];
  for (const { rules } of state.clusters.values()) {
    for (const rule of rules.values()) {
      if (rule.kind !== "Rollout") continue;
      const phase = rule.progress?.phase;
      if (phase === undefined || phase === "Progressing" || phase === "Paused") active.push(rule);
    }
  }
  return active;
}
