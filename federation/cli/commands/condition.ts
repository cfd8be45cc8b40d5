import type { Condition } from "../../model/resource.ts";

/** One word for a table: `Ready`, or the reason why not. */
export function conditionWord(conditions: readonly Condition[]): string {
  const bad = conditions.find((condition) => condition.status !== "True");
  if (bad !== undefined) return bad.reason;
  return conditions[0]?.type ?? "-";
}

export function conditionMessage(conditions: readonly Condition[]): string {
  return conditions.find((condition) => condition.status !== "True")?.message ?? "";
}
