import type { KubeObject } from "../api/object.ts";
import { isRecord } from "../api/object.ts";
import { apiVersionOf, type ResourceType } from "../api/resource-type.ts";
import { ANNOTATION } from "../labels.ts";
import { type Desired, shortHash } from "./objects.ts";

/** One write. Plans are lists of these; `apply.ts` does them. */
export type Change =
  | { readonly kind: "apply"; readonly type: ResourceType; readonly object: KubeObject }
  | { readonly kind: "status"; readonly type: ResourceType; readonly object: KubeObject }
  | {
      readonly kind: "delete";
      readonly type: ResourceType;
      readonly namespace: string;
      readonly name: string;
      /** Only this very object: one that took its name meanwhile is somebody else's. */
      readonly uid: string | undefined;
    };

/** An object of ours that is there. */
export interface Current {
  readonly type: ResourceType;
  readonly object: KubeObject;
}

/**
 * What makes `current` equal to `desired`. Pure. `complete` says that `desired` was made from complete knowledge: only
 * then does absence mean that something should go.
 */
export function plan(
  desired: readonly Desired[],
  current: readonly Current[],
  complete: boolean,
): readonly Change[] {
  const there = new Map(current.map((each) => [keyOf(each), each.object]));
  const changes: Change[] = [];
  for (const wanted of desired) {
    const stamped = stamp(wanted);
    const live = there.get(keyOf(wanted));
    if (live === undefined || !isInForce(stamped.object, live)) changes.push({ kind: "apply", ...stamped });
  }
  if (!complete) return changes;
  const wanted = new Set(desired.map(keyOf));
  for (const { type, object } of current) {
    const { namespace = "", name, uid, deletionTimestamp } = object.metadata;
    if (wanted.has(keyOf({ type, object })) || deletionTimestamp !== undefined) continue;
    changes.push({ kind: "delete", type, namespace, name, uid });
  }
  return changes;
}

function keyOf({ type, object }: { readonly type: ResourceType; readonly object: KubeObject }): string {
  return `${type.group}/${type.plural}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

/** The fingerprint shows what we left out since; the comparison with what is there shows what somebody else changed. */
function stamp({ type, object }: Desired): Desired {
  const fingerprint = shortHash(JSON.stringify(object));
  const { metadata } = object;
  const annotations = { ...metadata.annotations, [ANNOTATION.applied]: fingerprint };
  return { type, object: { ...object, metadata: { ...metadata, annotations } } };
}

function isInForce(wanted: KubeObject, live: KubeObject): boolean {
  const { apiVersion: _version, kind: _kind, ...fields } = wanted;
  return covers(live, fields);
}

/** Whether `live` says all that `wanted` says; what the server or others added does not count. */
export function covers(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(live) &&
      live.length === wanted.length &&
      wanted.every((item, at) => covers(live[at], item))
    );
  }
  if (!isRecord(wanted)) return live === wanted || (wanted === "" && live === undefined);
  if (!isRecord(live)) return Object.keys(wanted).length === 0;
  return Object.entries(wanted).every(([field, value]) => covers(live[field], value));
}

export function statusChange(
  type: ResourceType,
  { namespace, name }: { readonly namespace: string; readonly name: string },
  status: object,
): Change {
  const object = { apiVersion: apiVersionOf(type), kind: type.kind, metadata: { namespace, name }, status };
  return { kind: "status", type, object };
}
