import { hash } from "node:crypto";
import { type AppliedResource, type RuleResource, sourceClusters } from "../model/resource.ts";
import type { Draft } from "./change.ts";
import { targetsOf } from "./compile-rules.ts";
import { compileSnapshot, type RootBundle } from "./compile-snapshot.ts";
import { snapshotPieces } from "./snapshot-text.ts";
import { CompiledTexts } from "./compiled-texts.ts";
import { parentsOf } from "./compile-routes.ts";
import { EVERY_CLUSTER, importersOf, isUseChanged } from "./links.ts";
import {
  type ClusterState,
  type FederationState,
  findResource,
  type ItemKey,
  keyOf,
  serviceId,
} from "./state.ts";

/**
 * The clusters whose snapshot has other content after a draft. Only clusters that the changed objects name are compiled
 * and compared: with thousands of clusters, compiling all of them for each change would cost seconds.
 */
export function changedSnapshots(
  before: FederationState,
  after: FederationState,
  draft: Draft,
  root: RootBundle,
): readonly string[] {
  const touched = new Set<string>();
  for (const key of [...draft.puts.map(keyOf), ...draft.deletes]) {
    for (const name of touchedBy(before, after, key)) touched.add(name);
  }
  // An export to every cluster is offered to every one.
  if (touched.delete(EVERY_CLUSTER)) for (const name of after.clusters.keys()) touched.add(name);
  TEXTS.clear();
  const exports = draft.puts.map(keyOf).filter(({ kind }) => kind === "ServiceExport");
  return [...touched].filter((name) => {
    const next = after.clusters.get(name);
    if (next === undefined) return false;
    // Of a change before that was not needed, or not written: `next` may still be the same object.
    MADE.delete(next);
    // Compiled once, by whoever asks for it: a change that a thousand clusters notice is written and told of at once.
    if (exports.some((key) => isUseChanged(before, after, key, name))) return true;
    const pieces = piecesOf(after, next, root);
    const digest = digestOf(pieces);
    const previous = before.clusters.get(name);
    const changed = previous === undefined || digestBefore(before, previous, root) !== digest;
    MADE.set(next, { digest, pieces });
    return changed;
  });
}

/**
 * Of clusters whose state is published, which get a new one whenever their snapshot changes. Not so while a change is on
 * its way: there a cluster may still have the state that it had before, and `MADE` holds what it will be.
 */
const DIGESTS = new WeakMap<ClusterState, string>();
const MADE = new WeakMap<ClusterState, { readonly digest: string; readonly pieces: readonly string[] }>();
const TEXTS = new CompiledTexts();

function digestBefore(before: FederationState, cluster: ClusterState, root: RootBundle): string {
  const known = DIGESTS.get(cluster);
  if (known !== undefined) return known;
  const made = digestOf(piecesOf(before, cluster, root));
  DIGESTS.set(cluster, made);
  return made;
}

/** A cluster got the state that it is published with: what was compiled for it is its digest from now on. */
export function keepDigest(underway: ClusterState, published: ClusterState): void {
  const made = MADE.get(underway);
  if (made === undefined) return;
  MADE.delete(underway);
  DIGESTS.set(published, made.digest);
  TEXTS.keep(published, made.pieces);
}

/** What a published cluster's snapshot says, as pieces of JSON; from the change that made it so, where that was here. */
export function publishedPieces(
  state: FederationState,
  cluster: ClusterState,
  root: RootBundle,
): readonly string[] {
  return TEXTS.take(cluster) ?? piecesOf(state, cluster, root);
}

function piecesOf(state: FederationState, cluster: ClusterState, root: RootBundle): readonly string[] {
  return snapshotPieces(compileSnapshot(state, cluster, root));
}

function digestOf(pieces: readonly string[]): string {
  return hash("sha256", pieces.join(""), "base64");
}

/** Who could notice that this object changed: its own cluster, and the other ends of the links that it is part of. */
function touchedBy(before: FederationState, after: FederationState, key: ItemKey): readonly string[] {
  switch (key.kind) {
    case "EgressPolicy":
    case "AuthorizationPolicy":
      return [key.cluster];
    case "SigningKeys":
      // Nothing that a snapshot says; where another key signs, all of them get a new revision on purpose.
      return [];
    case "ServiceImport":
      return [key.cluster, ...[before, after].flatMap((state) => ownerOf(findResource(state, key)))];
    case "ServiceExport": {
      const [one, other] = [before, after].map((state) => consumersOf(findResource(state, key)));
      return [key.cluster, ...differing(one, other)];
    }
    case "TrafficRoute":
      return [key.cluster, ...[before, after].flatMap((state) => importersOfParents(state, key))];
    case "RateLimit":
    case "BackendTrafficPolicy":
    case "Rollout":
      return [key.cluster, ...[before, after].flatMap((state) => consumersOfTargets(state, key))];
    case "Services": {
      const [one, other] = [before, after].map((state) => state.clusters.get(key.cluster));
      const exports = differing(one?.services, other?.services).map((id) => other?.exports.get(id));
      return [key.cluster, ...exports.flatMap((resource) => [...consumersOf(resource).keys()])];
    }
    case "Cluster":
      return [key.cluster, ...[before, after].flatMap((state) => linked(state.clusters.get(key.cluster)))];
  }
}

/** A route of the own cluster's service is in force wherever that is imported. */
function importersOfParents(state: FederationState, key: ItemKey): readonly string[] {
  const route = findResource(state, key);
  if (route?.kind !== "TrafficRoute") return [];
  return parentsOf(route)
    .filter(({ consumer }) => consumer === undefined)
    .flatMap((parent) => importersOf(state, key.cluster, parent));
}

/** A rule about a service of the own cluster is in force at its consumers. */
function consumersOfTargets(state: FederationState, key: ItemKey): readonly string[] {
  const rule = findResource(state, key);
  if (rule === undefined || !("targetRef" in rule.spec || "targetRefs" in rule.spec)) return [];
  const exports = state.clusters.get(key.cluster)?.exports;
  return targetsOf(rule as RuleResource)
    .filter(({ kind }) => kind === "Service")
    .flatMap(({ name }) => [
      ...consumersOf(exports?.get(serviceId({ namespace: key.namespace, name }))).keys(),
    ]);
}

/** Every cluster at the other end of a link is named by our half of it. */
function linked(cluster: ClusterState | undefined): readonly string[] {
  if (cluster === undefined) return [];
  const consumers = [...cluster.exports.values()].flatMap((resource) => [...consumersOf(resource).keys()]);
  return [...consumers, ...[...cluster.imports.values()].flatMap(ownerOf)];
}

function ownerOf(resource: AppliedResource | undefined): readonly string[] {
  return resource?.kind === "ServiceImport" ? sourceClusters(resource) : [];
}

/** What each consumer is permitted, as text that can be compared. */
function consumersOf(resource: AppliedResource | undefined): ReadonlyMap<string, string> {
  if (resource?.kind !== "ServiceExport") return new Map();
  return new Map(
    resource.spec.consumers.map(({ cluster, workloads }) => [
      cluster,
      JSON.stringify([workloads ?? ["*"], resource.spec.properties]),
    ]),
  );
}

function differing<V>(
  one: ReadonlyMap<string, V> = new Map(),
  other: ReadonlyMap<string, V> = new Map(),
): readonly string[] {
  const keys = new Set([...one.keys(), ...other.keys()]);
  return [...keys].filter((key) => one.get(key) !== other.get(key));
}
