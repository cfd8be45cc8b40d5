import type { Issue, ProblemName } from "../../model/problem.ts";
import { nearest } from "../../model/wire/nearest.ts";
import type { Refusal } from "../change.ts";
import type { FederationState } from "../state.ts";

export function refuse(
  name: ProblemName,
  detail: string,
  more: Pick<Refusal, "issues" | "resourceVersion"> = {},
): { readonly ok: false; readonly error: Refusal } {
  return { ok: false, error: { problem: { name, detail }, ...more } };
}

export function unknownCluster(state: FederationState, name: string, path: string): Issue {
  const suggestion = nearest(name, [...state.clusters.keys()]);
  const message = `no cluster of this federation is called "${name}"`;
  return suggestion === undefined ? { path, message } : { path, message, suggestion };
}
