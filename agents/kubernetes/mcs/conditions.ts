import { isRecord } from "../api/object.ts";
import { fieldsOf, list } from "../digest/fields.ts";
import { covers } from "./plan.ts";

/** A condition before it is dated (metav1.Condition). */
export interface ConditionDraft {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
}

/**
 * The conditions to write, or `undefined` when all of them are there already. A transition's time is kept as long as the
 * condition's status does not change: clocks of two machines never make a condition flap.
 */
export function conditionsToWrite(
  drafts: readonly ConditionDraft[],
  status: unknown,
  generation: number,
  now: string,
): readonly object[] | undefined {
  const current = list(fieldsOf(status)["conditions"]).filter(isRecord);
  const same = drafts.every((draft) =>
    current.some((live) => covers(live, { ...draft, observedGeneration: generation })),
  );
  if (same) return undefined;
  return drafts.map((draft) => {
    const before = current.find(({ type }) => type === draft.type);
    const kept = before?.["status"] === draft.status ? before["lastTransitionTime"] : undefined;
    return { ...draft, observedGeneration: generation, lastTransitionTime: kept ?? now };
  });
}
