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

/** What a plan was made from. */
export interface Knowledge {
  /** Whether it is complete: only then does absence mean that something should go. */
  readonly complete: boolean;
  /** Of the federation's snapshot; absent while there is none. */
  readonly revision: number | undefined;
}

/** What makes `current` equal to `desired`. Pure. */
export function plan(
  desired: readonly Desired[],
  current: readonly Current[],
  { complete, revision }: Knowledge,
): readonly Change[] {
  const there = new Map(current.map((each) => [keyOf(each), each.object]));
  const changes: Change[] = [];
  for (const wanted of desired) {
    const live = there.get(keyOf(wanted));
    const stamped = stamp(wanted, live === undefined ? revision : revisionOf(live));
    if (live === undefined || !isInForce(stamped.object, live)) changes.push({ kind: "apply", ...stamped });
  }
  if (!complete) return changes;
  for (const { type, object } of left(desired, current)) {
    const { namespace = "", name, uid } = object.metadata;
    if (!isNewer(object, revision)) changes.push({ kind: "delete", type, namespace, name, uid });
  }
  return changes;
}

/**
 * Whether something is there that a leader made who knew a newer snapshot than ours: it may well belong to an export that
 * we have not heard of, so it stays until we have.
 */
export function holdsNewer(current: readonly Current[], revision: number | undefined): boolean {
  return current.some(({ object }) => isNewer(object, revision));
}

function left(desired: readonly Desired[], current: readonly Current[]): readonly Current[] {
  const wanted = new Set(desired.map(keyOf));
  return current.filter(
    (each) => !wanted.has(keyOf(each)) && each.object.metadata.deletionTimestamp === undefined,
  );
}

function isNewer(object: KubeObject, revision: number | undefined): boolean {
  const made = revisionOf(object);
  return made !== undefined && (revision === undefined || made > revision);
}

function revisionOf({ metadata }: KubeObject): number | undefined {
  const text = metadata.annotations?.[ANNOTATION.revision];
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function keyOf({ type, object }: { readonly type: ResourceType; readonly object: KubeObject }): string {
  return `${type.group}/${type.plural}/${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}

/** The fingerprint shows what we left out since; the comparison with what is there shows what somebody else changed. */
function stamp({ type, object }: Desired, revision: number | undefined): Desired {
  const fingerprint = shortHash(JSON.stringify(object));
  const { metadata } = object;
  const annotations = {
    ...metadata.annotations,
    [ANNOTATION.applied]: fingerprint,
    // Of whoever made it: a number that changed with every snapshot would be a write each time.
    ...(revision === undefined ? {} : { [ANNOTATION.revision]: String(revision) }),
  };
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
