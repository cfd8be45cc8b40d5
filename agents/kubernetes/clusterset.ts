import type { Snapshot, SnapshotOffer } from "../../federation/model/snapshot.ts";
import type { DeclareResponse } from "../../federation/model/wire/api.ts";
import type { KubeExport, KubeImport, KubeNamespace } from "./digest/mcs.ts";
import type { KubeService } from "./digest/service.ts";
import { parseAliasSource } from "./mcs/alias.ts";
import { isAccepted } from "./mcs/declared.ts";
import {
  type AliasFacts,
  type ExportFacts,
  importedOf,
  type RegistryAnswer,
  takesPart,
} from "./mcs/service-view.ts";
import type { SliceIndex } from "./slice-index.ts";

/** This cluster's objects, as its API server tells them. */
export interface ClusterObjects {
  readonly services: ReadonlyMap<string, KubeService>;
  readonly exports: ReadonlyMap<string, KubeExport>;
  readonly imports: ReadonlyMap<string, KubeImport>;
  readonly namespaces: ReadonlyMap<string, KubeNamespace>;
  readonly slices: SliceIndex;
}

/** Who exports what, by name: what the snapshot and the registry say, beside this cluster's own objects. */
export class Clusterset {
  readonly #cluster: string;
  readonly #objects: ClusterObjects;
  /** By `shop/cart`: other clusters' exports, and `east/shop/cart` that can be reached for it. */
  #offers = new Map<string, readonly SnapshotOffer[]>();
  #reachable = new Map<string, ReadonlySet<string>>();
  /** What the registry answered of our exports, and of aliases. */
  #accepted = new Map<string, { readonly firstSeen: string }>();
  #told = new Map<string, RegistryAnswer>();
  #refusal: string | undefined;

  constructor(cluster: string, objects: ClusterObjects) {
    this.#cluster = cluster;
    this.#objects = objects;
  }

  get offers(): ReadonlyMap<string, readonly SnapshotOffer[]> {
    return this.#offers;
  }

  /** The names of which it says something else. */
  follow(snapshot: Snapshot | undefined): ReadonlySet<string> {
    const offers = new Map<string, SnapshotOffer[]>();
    for (const offer of snapshot?.offers ?? []) {
      const key = `${offer.namespace}/${offer.name}`;
      offers.set(key, [...(offers.get(key) ?? []), offer]);
    }
    const routes = new Map<string, Set<string>>();
    for (const { namespace, name, from } of snapshot?.imports ?? []) {
      const key = `${namespace}/${name}`;
      const source = `${from.cluster}/${from.namespace}/${from.name}`;
      routes.set(key, (routes.get(key) ?? new Set()).add(source));
    }
    const changed = changedKeys([this.#offers, offers], [this.#reachable, routes]);
    this.#offers = offers;
    this.#reachable = routes;
    return changed;
  }

  /** What the registry says to our declaration; the names of which it is something else than before. */
  answered({ results }: DeclareResponse): ReadonlySet<string> {
    const accepted = new Map<string, { readonly firstSeen: string }>();
    const told = new Map<string, RegistryAnswer>();
    for (const { kind, metadata, conditions } of results) {
      const { namespace, name, firstSeen } = metadata;
      if (namespace === undefined) continue;
      const key = `${namespace}/${name}`;
      if (kind === "ServiceExport" && firstSeen !== undefined) accepted.set(key, { firstSeen });
      const [answer] = conditions;
      const isAlias = kind === "ServiceImport" && this.#objects.imports.get(key)?.from !== undefined;
      if (isAlias && answer !== undefined) told.set(key, { reason: answer.reason, message: answer.message });
    }
    const changed = changedKeys([this.#accepted, accepted], [this.#told, told]);
    this.#accepted = accepted;
    this.#told = told;
    this.#refusal = undefined;
    return changed;
  }

  /** The declaration as a whole was not taken. */
  refused(message: string): void {
    this.#refusal = message;
  }

  hasAccepted(key: string): boolean {
    return this.#accepted.has(key);
  }

  /** Why the registry does not have our export of this name, if it said so. */
  refusalOf(key: string): string | undefined {
    return this.#accepted.has(key) ? undefined : this.#refusal;
  }

  /** Of the name `source`, which is called `key` here. */
  factsOf(key: string, source = key): ExportFacts {
    const space = this.#objects.namespaces.get(namespaceOf(key));
    const routes = [...(this.#reachable.get(key) ?? [])].filter((route) => route.endsWith(`/${source}`));
    return {
      offers: (this.#offers.get(source) ?? [])
        .filter(({ cluster }) => isAccepted(space, cluster))
        .map(({ cluster, ports, properties = {}, firstSeen }) => ({ cluster, ports, properties, firstSeen })),
      routed: new Set(routes.map((route) => route.slice(0, route.indexOf("/")))),
      export: this.#objects.exports.get(source),
      service: this.#objects.services.get(source),
      localSlices: this.#objects.slices.of(source),
      firstSeen: this.#accepted.get(source)?.firstSeen,
    };
  }

  /** Unknown to the registry, it is: what is wrong with it shows when the registry has answered. */
  ownTakesPart(key: string): boolean {
    return takesPart(importedOf(this.factsOf(key), this.#cluster));
  }

  /** Of what an alias stands for; of nothing where nobody can tell what that is. */
  aliasFacts(key: string, from: string): AliasFacts {
    const { cluster, namespace, name } = parseAliasSource(from) ?? { namespace: "", name: "" };
    const source = `${namespace}/${name}`;
    const isMeant = (each: string): boolean => cluster === undefined || each === cluster;
    const facts = this.factsOf(key, source);
    const space = this.#objects.namespaces.get(namespaceOf(key));
    const offering = (this.#offers.get(source) ?? []).map((offer) => offer.cluster).filter(isMeant);
    return {
      ...facts,
      offers: facts.offers.filter((offer) => isMeant(offer.cluster)),
      ...(isMeant(this.#cluster) ? {} : { service: undefined, export: undefined, firstSeen: undefined }),
      unaccepted: offering.filter((each) => !isAccepted(space, each)),
      told: this.#told.get(key),
    };
  }
}

function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

/** Keys whose values differ between any two maps of a pair. */
function changedKeys(
  ...pairs: readonly (readonly [ReadonlyMap<string, unknown>, ReadonlyMap<string, unknown>])[]
): ReadonlySet<string> {
  const changed = new Set<string>();
  for (const [before, after] of pairs) {
    for (const key of new Set([...before.keys(), ...after.keys()]))
      if (text(before.get(key)) !== text(after.get(key))) changed.add(key);
  }
  return changed;
}

function text(value: unknown): string {
  return JSON.stringify(value instanceof Set ? [...value].sort() : value) ?? "";
}
