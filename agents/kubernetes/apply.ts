import { err, ok, type Result } from "../../federation/model/result.ts";
import type { KubeClient } from "./api/client.ts";
import type { ApiFailure } from "./api/failure.ts";
import { asKubeObject, type KubeObject } from "./api/object.ts";
import { pathOf } from "./api/resource-type.ts";
import { FIELD_MANAGER } from "./labels.ts";
import type { Change } from "./mcs/plan.ts";

export interface Applied {
  readonly change: Change;
  /** As the API server has it now; absent after a deletion, and where the object is gone. */
  readonly object?: KubeObject;
}

const APPLY = "application/apply-patch+yaml";

/**
 * Does what a plan says, in its order, and stops at the first failure: later changes may rest on earlier ones. Server-side
 * apply under our own field manager; we take fields over, because only objects of ours are ever applied.
 */
export async function applyChanges(
  client: KubeClient,
  changes: readonly Change[],
  onApplied: (applied: Applied) => void,
): Promise<Result<undefined, { readonly change: Change; readonly failure: ApiFailure }>> {
  for (const change of changes) {
    const done = await applyChange(client, change);
    if (!done.ok) return err({ change, failure: done.error });
    onApplied(done.value === undefined ? { change } : { change, object: done.value });
  }
  return ok(undefined);
}

async function applyChange(
  client: KubeClient,
  change: Change,
): Promise<Result<KubeObject | undefined, ApiFailure>> {
  if (change.kind === "delete") {
    const { type, namespace, name, uid } = change;
    const body = { kind: "DeleteOptions", apiVersion: "v1", propagationPolicy: "Background" };
    const preconditions = uid === undefined ? {} : { preconditions: { uid } };
    const path = pathOf(type, { namespace, name });
    const answer = await client.request({ method: "DELETE", path, body: { ...body, ...preconditions } });
    // Gone is what was wanted; another object under its name is none of ours.
    if (answer.ok || answer.error.kind === "not_found" || answer.error.kind === "conflict")
      return ok(undefined);
    return answer;
  }
  const { type, object, kind } = change;
  const { namespace, name } = object.metadata;
  const path = pathOf(
    type,
    namespace === undefined ? { name } : { namespace, name },
    kind === "status" ? "status" : undefined,
  );
  const query = { fieldManager: FIELD_MANAGER, force: "true" };
  const answer = await client.request({ method: "PATCH", path, query, body: object, contentType: APPLY });
  if (answer.ok) return ok(asKubeObject(answer.value));
  // Whose status we would have written is gone: there is nobody to tell.
  return kind === "status" && answer.error.kind === "not_found" ? ok(undefined) : answer;
}

/** `apply serviceimports shop/cart`: for messages. */
export function describeChange(change: Change): string {
  const { namespace = "", name } = change.kind === "delete" ? change : change.object.metadata;
  return `${change.kind} ${change.type.plural} ${namespace}/${name}`;
}
