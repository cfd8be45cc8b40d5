// Longer than other files: what an API server does to an object is easier to follow in one place.
import { randomUUID } from "node:crypto";
import { err, ok, type Result } from "../../../federation/model/result.ts";
import { type Applied, applyFields, type Json, type ManagedFields } from "./apply.ts";
import { type ServedType, typeKey } from "./types.ts";

export interface StoredObject {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid?: string;
    readonly resourceVersion?: string;
    readonly creationTimestamp?: string;
    readonly deletionTimestamp?: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
    readonly ownerReferences?: readonly {
      readonly uid: string;
      readonly name: string;
      readonly kind: string;
    }[];
    readonly finalizers?: readonly string[];
    readonly [field: string]: unknown;
  };
  readonly [field: string]: unknown;
}

export interface StoreEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly version: number;
  readonly typeKey: string;
  readonly object: StoredObject;
}

export interface Refusal {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

export type Outcome = Result<StoredObject, Refusal>;

/** The objects of the double, their versions, and the history that watches are served from. */
export type IpFamily = "IPv4" | "IPv6";

export class ObjectStore {
  version = 1000;
  /** Events up to this version are forgotten: watches from before it get 410. */
  compacted = 1000;
  readonly #objects = new Map<string, Map<string, StoredObject>>();
  readonly #managed = new Map<string, ManagedFields>();
  readonly #history: StoreEvent[] = [];
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  readonly #now: () => number;
  #addresses = 0;
  readonly #serviceRange: string;
  readonly #families: readonly IpFamily[];

  constructor(now: () => number, serviceRange: string, families: readonly IpFamily[]) {
    this.#now = now;
    this.#serviceRange = serviceRange;
    this.#families = families;
  }

  list(type: ServedType, namespace?: string): readonly StoredObject[] {
    return [...this.#of(type).values()]
      .filter(({ metadata }) => namespace === undefined || metadata.namespace === namespace)
      .sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  }

  get(type: ServedType, key: string): StoredObject | undefined {
    return this.#of(type).get(key);
  }

  subscribe(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** `undefined`: that far back nothing is known. */
  since(type: ServedType, version: number): readonly StoreEvent[] | undefined {
    if (version < this.compacted) return undefined;
    return this.#history.filter((event) => event.typeKey === typeKey(type) && event.version > version);
  }

  /** Forgets the history, as etcd does after a while. */
  compact(): void {
    this.compacted = this.version;
    this.#history.length = 0;
  }

  create(type: ServedType, given: StoredObject): Outcome {
    const key = keyOf(given);
    if (this.get(type, key) !== undefined)
      return refuse(409, "AlreadyExists", `${type.plural} "${given.metadata.name}" already exists`);
    const doomed = this.#namespaceEnds(given.metadata.namespace);
    if (doomed !== undefined) return doomed;
    const metadata = {
      ...given.metadata,
      uid: randomUUID(),
      generation: 1,
      creationTimestamp: new Date(this.#now()).toISOString().replace(/\.\d+Z$/, "Z"),
    };
    return ok(this.#write("ADDED", type, this.#defaulted(type, { ...given, metadata })));
  }

  update(type: ServedType, given: StoredObject, subresource?: string): Outcome {
    const current = this.get(type, keyOf(given));
    if (current === undefined) return notFound(type, given.metadata.name);
    const { resourceVersion } = given.metadata;
    if (resourceVersion !== undefined && resourceVersion !== current.metadata.resourceVersion)
      return refuse(409, "Conflict", `${type.plural} "${given.metadata.name}": the object has been modified`);
    return this.#replace(type, current, given, subresource);
  }

  apply(
    type: ServedType,
    given: StoredObject,
    manager: string,
    force: boolean,
    subresource?: string,
  ): { readonly outcome: Outcome; readonly created: boolean } {
    const key = keyOf(given);
    const managedKey = `${typeKey(type)}/${key}/${subresource ?? ""}`;
    const managed = this.#managed.get(managedKey) ?? new Map<string, ReadonlySet<string>>();
    const current = this.get(type, key);
    const { resourceVersion, uid, ...metadata } = given.metadata;
    if (resourceVersion !== undefined && resourceVersion !== current?.metadata.resourceVersion)
      return { outcome: refuse(409, "Conflict", "the object has been modified"), created: false };
    if (uid !== undefined && uid !== current?.metadata.uid)
      return {
        outcome: refuse(409, "Conflict", `uid mismatch: the object given has ${uid}`),
        created: false,
      };
    if (current === undefined) {
      if (subresource !== undefined) return { outcome: notFound(type, given.metadata.name), created: false };
      const made = this.create(type, { ...given, metadata });
      if (made.ok) {
        applyFields({}, asTree({ ...given, metadata }), manager, managed, true);
        this.#managed.set(managedKey, managed);
      }
      return { outcome: made, created: true };
    }
    const base = subresource === "status" ? { status: current["status"] } : userFields(current);
    const wanted =
      subresource === "status" ? { status: given["status"] } : userFields({ ...given, metadata });
    const applied: Applied = applyFields(asTree(base), asTree(wanted), manager, managed, force);
    if (applied.conflicts.length > 0)
      return {
        outcome: refuse(409, "Conflict", `Apply failed: ${applied.conflicts.join("; ")}`),
        created: false,
      };
    this.#managed.set(managedKey, managed);
    const merged = applied.object as unknown as StoredObject;
    const next =
      subresource === "status"
        ? { ...current, status: merged["status"] }
        : {
            ...merged,
            metadata: {
              ...current.metadata,
              labels: undefined,
              annotations: undefined,
              ownerReferences: undefined,
              ...merged.metadata,
            },
          };
    return {
      outcome: this.#replace(type, current, dropUndefined<StoredObject>(next), subresource),
      created: false,
    };
  }

  delete(
    type: ServedType,
    key: string,
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
  ): Outcome {
    const current = this.get(type, key);
    if (current === undefined) return notFound(type, key);
    const { uid, resourceVersion } = preconditions;
    if (uid !== undefined && uid !== current.metadata.uid)
      return refuse(409, "Conflict", `the UID in the precondition (${uid}) does not match`);
    if (resourceVersion !== undefined && resourceVersion !== current.metadata.resourceVersion)
      return refuse(409, "Conflict", "the ResourceVersion in the precondition does not match");
    if ((current.metadata.finalizers?.length ?? 0) > 0 || typeKey(type) === "/namespaces") {
      if (current.metadata.deletionTimestamp !== undefined) return ok(current);
      const deletionTimestamp = new Date(this.#now()).toISOString();
      return ok(
        this.#write("MODIFIED", type, { ...current, metadata: { ...current.metadata, deletionTimestamp } }),
      );
    }
    return ok(this.#remove(type, current));
  }

  /** What the garbage collector and the namespace controller do in a real cluster. */
  collectGarbage(types: readonly ServedType[]): void {
    const uids = new Set(types.flatMap((type) => this.list(type).map(({ metadata }) => metadata.uid)));
    const ending = new Set(
      this.list(NAMESPACES)
        .filter(({ metadata }) => metadata.deletionTimestamp !== undefined)
        .map(({ metadata }) => metadata.name),
    );
    for (const type of types) {
      for (const object of this.list(type)) {
        const owners = object.metadata.ownerReferences ?? [];
        const orphaned = owners.length > 0 && owners.every(({ uid }) => !uids.has(uid));
        if (orphaned || ending.has(object.metadata.namespace ?? "")) this.#remove(type, object);
      }
    }
    for (const name of ending) {
      const namespace = this.get(NAMESPACES, name);
      if (namespace !== undefined) this.#remove(NAMESPACES, namespace);
    }
  }

  #replace(type: ServedType, current: StoredObject, given: StoredObject, subresource?: string): Outcome {
    const { uid, creationTimestamp, resourceVersion, generation, deletionTimestamp } = current.metadata;
    const fixed = { uid, creationTimestamp, resourceVersion, deletionTimestamp };
    const next =
      subresource === "status"
        ? { ...current, status: given["status"] }
        : {
            ...given,
            metadata: { ...given.metadata, ...fixed, generation },
            ...(type.status ? { status: current["status"] } : {}),
          };
    const clean = this.#defaulted(type, dropUndefined<StoredObject>(next), current);
    if (JSON.stringify(sorted(clean)) === JSON.stringify(sorted(current))) return ok(current);
    const changedSpec = JSON.stringify(sorted(clean["spec"])) !== JSON.stringify(sorted(current["spec"]));
    const counted: StoredObject = {
      ...clean,
      metadata: { ...clean.metadata, generation: Number(generation ?? 1) + (changedSpec ? 1 : 0) },
    };
    if (
      deletionTimestamp !== undefined &&
      (counted.metadata.finalizers?.length ?? 0) === 0 &&
      typeKey(type) !== "/namespaces"
    )
      return ok(this.#remove(type, counted));
    return ok(this.#write("MODIFIED", type, counted));
  }

  #remove(type: ServedType, object: StoredObject): StoredObject {
    const key = keyOf(object);
    for (const subresource of ["", "status"]) this.#managed.delete(`${typeKey(type)}/${key}/${subresource}`);
    const stored = this.#write("DELETED", type, object);
    this.#of(type).delete(key);
    return stored;
  }

  #write(event: StoreEvent["type"], type: ServedType, object: StoredObject): StoredObject {
    const version = ++this.version;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(version) } };
    this.#of(type).set(keyOf(stored), stored);
    const made: StoreEvent = { type: event, version, typeKey: typeKey(type), object: stored };
    this.#history.push(made);
    for (const listener of [...this.#listeners]) listener(made);
    return stored;
  }

  #namespaceEnds(name: string | undefined): Result<never, Refusal> | undefined {
    if (name === undefined) return undefined;
    const namespace = this.get(NAMESPACES, name);
    if (namespace === undefined) return refuse(404, "NotFound", `namespaces "${name}" not found`);
    if (namespace.metadata.deletionTimestamp === undefined) return undefined;
    return refuse(
      403,
      "Forbidden",
      `unable to create new content in namespace ${name} because it is being terminated`,
    );
  }

  /** The defaults that agents rely on: a Service gets an address, or one of each family that it asks for. */
  #defaulted(type: ServedType, object: StoredObject, current?: StoredObject): StoredObject {
    if (typeKey(type) !== "/services") return object;
    const spec = (object["spec"] ?? {}) as Record<string, unknown>;
    if (spec["type"] === "ExternalName" || spec["clusterIP"] !== undefined) return object;
    const before = (current?.["spec"] ?? {}) as Record<string, unknown>;
    const kept = { ...spec, type: spec["type"] ?? "ClusterIP" };
    const { clusterIP, clusterIPs, ipFamilies } = before;
    const addresses =
      clusterIP === undefined ? this.#serviceAddresses(spec) : { clusterIP, clusterIPs, ipFamilies };
    return { ...object, spec: { ...kept, ...addresses } };
  }

  #serviceAddresses(spec: Record<string, unknown>) {
    const isDual = spec["ipFamilyPolicy"] === "PreferDualStack";
    const ipFamilies = spec["ipFamilies"] ?? (isDual ? this.#families : this.#families.slice(0, 1));
    const number = ++this.#addresses;
    const clusterIPs = (ipFamilies as readonly IpFamily[]).map((family) =>
      family === "IPv6" ? `${SERVICE_RANGE_6}${number.toString(16)}` : `${this.#serviceRange}.${number}`,
    );
    return { clusterIP: clusterIPs[0], clusterIPs, ipFamilies };
  }

  #of(type: ServedType): Map<string, StoredObject> {
    const key = typeKey(type);
    const known = this.#objects.get(key) ?? new Map<string, StoredObject>();
    this.#objects.set(key, known);
    return known;
  }
}

export const SERVICE_RANGE_6 = "fd00:96::";

const NAMESPACES: ServedType = {
  group: "",
  versions: ["v1"],
  plural: "namespaces",
  kind: "Namespace",
  namespaced: false,
};

export function keyOf({ metadata }: StoredObject): string {
  return metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
}

function refuse(code: number, reason: string, message: string): Result<never, Refusal> {
  return err({ code, reason, message });
}

function notFound(type: ServedType, name: string): Result<never, Refusal> {
  return refuse(404, "NotFound", `${type.plural} "${name}" not found`);
}

/** What managers may own of an object: not what the server itself writes. */
function userFields(object: StoredObject): Record<string, unknown> {
  const { metadata, status: _status, ...rest } = object;
  const { name, namespace, labels, annotations, ownerReferences, finalizers } = metadata;
  return dropUndefined<Record<string, unknown>>({
    ...rest,
    metadata: dropUndefined({ name, namespace, labels, annotations, ownerReferences, finalizers }),
  });
}

function dropUndefined<T>(value: object): T {
  return JSON.parse(JSON.stringify(value)) as T;
}

function asTree(value: unknown): { [key: string]: Json } {
  return JSON.parse(JSON.stringify(value)) as { [key: string]: Json };
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
