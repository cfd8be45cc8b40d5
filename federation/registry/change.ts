import type { Issue, Problem } from "../model/problem.ts";
import type { Result } from "../model/result.ts";
import {
  type ClusterState,
  type FederationState,
  type Item,
  type ItemKey,
  keyOf,
  keyText,
  ruleId,
  serviceId,
} from "./state.ts";

/** Why a command is refused. */
export interface Refusal {
  readonly problem: Problem;
  readonly issues?: readonly Issue[];
  /** In a version conflict: the current one. */
  readonly resourceVersion?: number;
}

/** What a command would do: pure, and true only for the revision it was planned at. */
export interface Draft {
  readonly puts: readonly Item[];
  readonly deletes: readonly ItemKey[];
  readonly audit: { readonly action: string; readonly targets: readonly string[] };
  /** Where the change leaves revisions out on purpose; otherwise the next one. */
  readonly revision?: number;
  /** Every snapshot gets the new revision, whether its content changed or not. */
  readonly allSnapshots?: boolean;
}

/** `draft` is absent where everything is as commanded already. */
export interface Plan<A> {
  readonly draft?: Draft;
  /** The answer, once the draft is in force; `state` is what it led to. */
  readonly answer: (state: FederationState) => A;
}

export type Planned<A> = Result<Plan<A>, Refusal>;

/** What a change did, as other instances follow it. */
export interface LoggedChange {
  /** The federation's revision must still be this one. */
  readonly baseRevision: number;
  /** The federation's revision afterwards: the next one, unless an operator left some out. */
  readonly revision: number;
  readonly puts: readonly Item[];
  readonly deletes: readonly ItemKey[];
  /** Clusters whose snapshot has other content from the new revision on. */
  readonly snapshots: readonly string[];
  readonly firstSeen: readonly { readonly key: string; readonly time: string }[];
  readonly audit: AuditEntry;
}

/** One atomic write. */
export interface Change extends LoggedChange {
  /** Repeating the request with this token gets `response` again and changes nothing. */
  readonly request?: StoredRequest;
}

export interface AuditEntry {
  readonly time: string;
  readonly actor: string;
  readonly action: string;
  readonly targets: readonly string[];
}

export interface StoredRequest {
  readonly token: string;
  /** Of the request's meaning: the same token with another one is refused. */
  readonly fingerprint: string;
  readonly response: string;
}

/** The state after `draft`; its snapshot revisions are still the old ones. */
export function applyDraft(state: FederationState, draft: Draft, time: string): FederationState {
  const clusters = new Map(state.clusters);
  const owned = new Map<string, MutableCluster>();
  const firstSeen = state.firstSeen.with(draft.puts.map((item) => [keyText(keyOf(item)), time] as const));
  for (const key of draft.deletes) remove(clusters, owned, key);
  for (const item of draft.puts) {
    put(clusters, owned, item);
  }
  const signing = draft.puts.findLast((item) => item.kind === "SigningKeys")?.value ?? state.signing;
  const next = { ...state, revision: draft.revision ?? state.revision + 1, clusters, firstSeen };
  return signing === undefined ? next : { ...next, signing };
}

/** The state after a change that another instance made. */
export function applyLogged(state: FederationState, change: LoggedChange): FederationState {
  const { revision, puts, deletes, audit } = change;
  const applied = applyDraft(state, { revision, puts, deletes, audit }, audit.time);
  return withSnapshotRevisions(applied, change.snapshots);
}

type MutableCluster = {
  -readonly [K in keyof ClusterState]: ClusterState[K] extends ReadonlyMap<infer I, infer V>
    ? Map<I, V>
    : ClusterState[K];
};

/** The draft's own copy of a cluster: made once, so that a batch of a thousand copies its maps once. */
function own(
  clusters: Map<string, ClusterState>,
  owned: Map<string, MutableCluster>,
  name: string,
): MutableCluster {
  const mine = owned.get(name);
  if (mine !== undefined) return mine;
  const cluster = clusters.get(name);
  if (cluster === undefined) throw new TypeError(`a plan touches the unknown cluster ${name}`);
  const copy: MutableCluster = {
    ...cluster,
    services: new Map(cluster.services),
    exports: new Map(cluster.exports),
    imports: new Map(cluster.imports),
    policies: new Map(cluster.policies),
    routes: new Map(cluster.routes),
    rules: new Map(cluster.rules),
  };
  owned.set(name, copy);
  clusters.set(name, copy);
  return copy;
}

function put(clusters: Map<string, ClusterState>, owned: Map<string, MutableCluster>, item: Item): void {
  if (item.kind === "SigningKeys") return;
  if (item.kind === "Cluster") {
    const { name } = item.value;
    if (clusters.has(name)) own(clusters, owned, name).record = item.value;
    else clusters.set(name, emptyCluster(item.value));
    return;
  }
  if (item.kind === "Services") {
    const services = item.value.map((service) => [serviceId(service.metadata), service] as const);
    own(clusters, owned, item.cluster).services = new Map(services);
    return;
  }
  const resource = item.value;
  const cluster = own(clusters, owned, resource.metadata.cluster);
  if (resource.kind === "ServiceExport") cluster.exports.set(serviceId(resource.metadata), resource);
  else if (resource.kind === "ServiceImport") cluster.imports.set(serviceId(resource.metadata), resource);
  else if (resource.kind === "EgressPolicy") cluster.policies.set(resource.metadata.name, resource);
  else if (resource.kind === "TrafficRoute") cluster.routes.set(serviceId(resource.metadata), resource);
  else cluster.rules.set(ruleId({ kind: resource.kind, ...resource.metadata }), resource);
}

function remove(clusters: Map<string, ClusterState>, owned: Map<string, MutableCluster>, key: ItemKey): void {
  switch (key.kind) {
    case "Cluster":
      clusters.delete(key.cluster);
      return;
    case "SigningKeys":
      // They are replaced, never deleted.
      return;
    case "Services":
      // Only together with their cluster, which is gone by now or goes next.
      return;
    case "ServiceExport":
      own(clusters, owned, key.cluster).exports.delete(serviceId(key));
      return;
    case "ServiceImport":
      own(clusters, owned, key.cluster).imports.delete(serviceId(key));
      return;
    case "EgressPolicy":
      own(clusters, owned, key.cluster).policies.delete(key.name);
      return;
    case "TrafficRoute":
      own(clusters, owned, key.cluster).routes.delete(serviceId(key));
      return;
    case "RateLimit":
    case "AuthorizationPolicy":
    case "BackendTrafficPolicy":
    case "Rollout":
      own(clusters, owned, key.cluster).rules.delete(ruleId({ ...key, kind: key.kind }));
  }
}

export function emptyCluster(record: ClusterState["record"]): ClusterState {
  return {
    record,
    snapshotRevision: record.resourceVersion,
    services: new Map(),
    exports: new Map(),
    imports: new Map(),
    policies: new Map(),
    routes: new Map(),
    rules: new Map(),
  };
}

/** The draft as a whole write: which snapshots it changes, which names it saw first. */
export function completeChange(
  before: FederationState,
  draft: Draft,
  context: { readonly time: string; readonly actor: string },
  changedSnapshots: (before: FederationState, after: FederationState, draft: Draft) => readonly string[],
  /** Told of each such cluster: the state that was compiled, and the one that stands for it from now on. */
  onRevised: (compiled: ClusterState, published: ClusterState) => void = () => {},
): { readonly change: Change; readonly after: FederationState } {
  const applied = applyDraft(before, draft, context.time);
  const snapshots =
    draft.allSnapshots === true ? [...applied.clusters.keys()] : changedSnapshots(before, applied, draft);
  const firstSeen = draft.puts
    .map((item) => keyText(keyOf(item)))
    .filter((key) => !before.firstSeen.has(key))
    .map((key) => ({ key, time: context.time }));
  const change: Change = {
    baseRevision: before.revision,
    revision: applied.revision,
    puts: draft.puts,
    deletes: draft.deletes,
    snapshots,
    firstSeen,
    audit: { ...draft.audit, time: context.time, actor: context.actor },
  };
  return { change, after: withSnapshotRevisions(applied, snapshots, onRevised) };
}

function withSnapshotRevisions(
  state: FederationState,
  names: readonly string[],
  onRevised?: (compiled: ClusterState, published: ClusterState) => void,
): FederationState {
  const clusters = new Map(state.clusters);
  for (const name of names) {
    const cluster = clusters.get(name);
    if (cluster === undefined) continue;
    const published = { ...cluster, snapshotRevision: state.revision };
    onRevised?.(cluster, published);
    clusters.set(name, published);
  }
  return { ...state, clusters };
}
