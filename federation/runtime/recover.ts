import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { completeChange } from "../registry/change.ts";
import { timestamp } from "../registry/clock.ts";
import { planAdvance } from "../registry/plan/advance.ts";
import type { RegistryStore } from "../registry/store.ts";
import { storeProblem } from "./keys.ts";

export interface Recovered {
  readonly from: number;
  readonly revision: number;
}

/**
 * Lets a federation go on whose store was put back from an older copy: its next revision is higher than any that was
 * acknowledged or that a member reports, so that members accept what the registry says again. What the copy lacks stays
 * lost; the audit record tells which revisions those were.
 */
export async function recoverRegistry(
  store: RegistryStore,
  options: { readonly acknowledged: number; readonly now: number },
): Promise<Result<Recovered, Problem>> {
  const state = await store.load();
  if (!state.ok) return err(storeProblem(state.error));
  const members = await store.members();
  if (!members.ok) return err(storeProblem(members.error));
  const seen = members.value.map(({ status }) => status?.appliedRevision ?? 0);
  const beyond = Math.max(options.acknowledged, state.value.revision, ...seen);
  const planned = planAdvance(state.value, beyond);
  if (!planned.ok) return err(planned.error.problem);
  const { draft, answer } = planned.value;
  if (draft === undefined) return err(problem("internal", "there is nothing to advance"));
  const context = { time: timestamp(options.now), actor: "registry recover" };
  const { change, after } = completeChange(state.value, draft, context, () => []);
  const written = await store.commit(change);
  return written.ok ? ok(answer(after)) : err(storeProblem(written.error));
}
