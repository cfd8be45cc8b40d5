import { ok } from "../../model/result.ts";
import type { Planned } from "../change.ts";
import { refuse } from "./refuse.ts";
import type { FederationState } from "../state.ts";

/**
 * Goes on behind `beyond`, the highest revision that any member has seen: after an older copy was put in place of the
 * store, members refuse what it says until its revisions are higher than what they have.
 */
export function planAdvance(
  state: FederationState,
  beyond: number,
): Planned<{ readonly revision: number; readonly from: number }> {
  if (beyond < state.revision)
    return refuse("request_invalid", `the federation is at revision ${state.revision} already`);
  const from = state.revision;
  const revision = beyond + 1;
  return ok({
    draft: {
      puts: [],
      deletes: [],
      revision,
      allSnapshots: true,
      audit: { action: "federation.advance", targets: [`Revision/${from}..${revision}`] },
    },
    answer: () => ({ revision, from }),
  });
}
