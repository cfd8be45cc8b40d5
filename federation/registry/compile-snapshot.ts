import {
  API_VERSION,
  type ServiceExportResource,
  type ServiceImportResource,
  type ServiceResource,
  sourceClusters,
} from "../model/resource.ts";
import type {
  Snapshot,
  SnapshotConsumer,
  SnapshotEgressPolicy,
  SnapshotExport,
  SnapshotImport,
  SnapshotAuthorization,
  SnapshotIngress,
  SnapshotOffer,
  SnapshotPeer,
} from "../model/snapshot.ts";
import type { TrustDomain } from "../model/spiffe-id.ts";
import type { TrustBundle } from "../model/trust-bundle.ts";
import { snapshotPolicy } from "../model/egress-policy.ts";
import { compileRoutes } from "./compile-routes.ts";
import { compileAuthorization } from "./compile-authorization.ts";
import { compileRules } from "./compile-rules.ts";
import { OfferIndex } from "./offer-index.ts";
import {
  acceptedConsumers,
  EVERY_CLUSTER,
  exportsNaming,
  resolveImport,
  workloadsPermittedTo,
} from "./links.ts";
import {
  type ClusterRecord,
  type ClusterState,
  type FederationState,
  serviceId,
  trustDomainOf,
} from "./state.ts";

/** The root that every cluster's CA chains to. */
export interface RootBundle {
  readonly sequence: number;
  /** DER, base64. */
  readonly x509Authorities: readonly string[];
}

/** What a snapshot says; its revision and date are those of the change that made it so. */
export type SnapshotContent = Omit<Snapshot, "revision" | "issuedAt">;

/**
 * Everything `cluster` may use and nothing else: exports that someone accepted, imports that someone exports, and the
 * bundles of just those clusters. The order is fixed, so that equal content is equal text.
 */
export function compileSnapshot(
  state: FederationState,
  cluster: ClusterState,
  root: RootBundle,
): SnapshotContent {
  const { name } = cluster.record;
  // Nobody can act for a cluster that has not joined: to the others it is not there yet.
  const joined = cluster.record.state === "joined";
  const imports = joined ? compileImports(state, cluster) : [];
  const exports = joined ? compileExports(state, cluster) : [];
  const peers = compilePeers(state, name, imports, exports);
  const own = trustDomainOf(state.federation, name);
  const rules = compileRules(state, cluster, imports);
  const routes = compileRoutes(state, cluster, imports);
  return {
    apiVersion: API_VERSION,
    kind: "Snapshot",
    federation: state.federation,
    cluster: name,
    trustDomain: own,
    bundles: [name, ...peers.map(({ cluster: peer }) => peer)].flatMap((member) =>
      bundleOf(state, member, root),
    ),
    denied: [],
    peers,
    imports,
    exports,
    egress: { policies: compilePolicies(cluster) },
    ...(rules === undefined ? {} : { rules }),
    ...(routes.length === 0 ? {} : { routes }),
    ...authorizationOf(joined ? compileAuthorization(state, cluster) : []),
    ...ingressOf(joined ? compileIngress(cluster) : []),
    ...offersOf(joined ? compileOffers(state, cluster) : []),
  };
}

function authorizationOf(authorization: readonly SnapshotAuthorization[]): Pick<Snapshot, "authorization"> {
  return authorization.length === 0 ? {} : { authorization };
}

function ingressOf(ingress: readonly SnapshotIngress[]): Pick<Snapshot, "ingress"> {
  return ingress.length === 0 ? {} : { ingress };
}

/** What callers from outside may reach here: exports of services that exist. */
function compileIngress(cluster: ClusterState): readonly SnapshotIngress[] {
  return sortedValues(cluster.exports).flatMap(({ metadata, spec }) => {
    const { namespace, name } = metadata;
    if (!cluster.services.has(serviceId(metadata))) return [];
    return (spec.ingress ?? []).map((ingress) => ({ namespace, name, ...ingress }));
  });
}

function offersOf(offers: readonly SnapshotOffer[]): Pick<Snapshot, "offers"> {
  return offers.length === 0 ? {} : { offers };
}

const OFFERS = new OfferIndex();

/** What others export to this cluster, ordered by name and then by who did so first. */
function compileOffers(state: FederationState, cluster: ClusterState): readonly SnapshotOffer[] {
  const { name: own } = cluster.record;
  const offers: KnownOffer[] = [];
  const naming = [own, EVERY_CLUSTER].flatMap((name) => [...OFFERS.exportersNaming(state, name)]);
  for (const exporterName of new Set(naming)) {
    const exporter = state.clusters.get(exporterName);
    if (exporter?.record.state !== "joined") continue;
    for (const resource of exportsNaming(exporter.exports, own)) {
      const service = exporter.services.get(serviceId(resource.metadata));
      if (service === undefined || workloadsPermittedTo(resource, own) === undefined) continue;
      offers.push(offerOf(exporter.record, resource, service));
    }
  }
  return offers
    .sort(
      (a, b) =>
        compareText(a.id, b.id) ||
        compareText(a.offer.firstSeen, b.offer.firstSeen) ||
        compareText(a.offer.cluster, b.offer.cluster),
    )
    .map(({ offer }) => offer);
}

interface KnownOffer {
  readonly record: ClusterRecord;
  readonly service: ServiceResource;
  readonly id: string;
  readonly offer: SnapshotOffer;
}

const OFFERED = new WeakMap<ServiceExportResource, KnownOffer>();

/** One object for all whom it is offered to. */
function offerOf(
  record: ClusterRecord,
  resource: ServiceExportResource,
  service: ServiceResource,
): KnownOffer {
  const known = OFFERED.get(resource);
  if (known?.record === record && known.service === service) return known;
  const { namespace, name, firstSeen = record.registeredAt } = resource.metadata;
  const { properties } = resource.spec;
  const bare = { namespace, name, cluster: record.name, ports: service.spec.ports, firstSeen };
  const offer = properties === undefined ? bare : { ...bare, properties };
  const made = { record, service, id: serviceId(resource.metadata), offer };
  OFFERED.set(resource, made);
  return made;
}

function compileImports(state: FederationState, cluster: ClusterState): readonly SnapshotImport[] {
  return sortedValues(cluster.imports).flatMap((resource) =>
    sourceClusters(resource).flatMap((owner) => compileSource(state, resource, owner)),
  );
}

function compileSource(
  state: FederationState,
  resource: ServiceImportResource,
  owner: string,
): readonly SnapshotImport[] {
  const resolved = resolveImport(state, resource, owner);
  if (!("link" in resolved)) return [];
  const { exporter, service, workloads } = resolved.link;
  const { namespace, name } = resource.metadata;
  const from = sourceOf(state, exporter, service);
  const { ports, versions } = service.spec;
  // Absent rather than empty: members one release behind do not know the field.
  return [{ namespace, name, from, ports, ...(versions === undefined ? {} : { versions }), workloads }];
}

const SOURCES = new WeakMap<ServiceResource, SnapshotImport["from"]>();

/** One object for all who import it. */
function sourceOf(
  state: FederationState,
  exporter: ClusterState,
  service: ServiceResource,
): SnapshotImport["from"] {
  const known = SOURCES.get(service);
  if (known !== undefined) return known;
  const { namespace, name, cluster } = service.metadata;
  const from = { namespace, name, cluster, trustDomain: trustDomainOfCluster(state, exporter) };
  SOURCES.set(service, from);
  return from;
}

function compileExports(state: FederationState, cluster: ClusterState): readonly SnapshotExport[] {
  return sortedValues(cluster.exports).flatMap((resource) => {
    const { namespace, name } = resource.metadata;
    const service = cluster.services.get(`${namespace}/${name}`);
    if (service === undefined) return [];
    const consumers = acceptedConsumers(state, resource)
      .map(
        ({ cluster: consumer, workloads }): SnapshotConsumer => ({
          cluster: consumer.record.name,
          trustDomain: trustDomainOfCluster(state, consumer),
          workloads,
        }),
      )
      .sort((a, b) => compareText(a.cluster, b.cluster));
    // Callers from outside are served by what the ports were declared as, whether a cluster consumes the service or not.
    const isServed = consumers.length > 0 || resource.spec.ingress !== undefined;
    return isServed ? [{ namespace, name, ports: service.spec.ports, consumers }] : [];
  });
}

function compilePeers(
  state: FederationState,
  own: string,
  imports: readonly SnapshotImport[],
  exports: readonly SnapshotExport[],
): readonly SnapshotPeer[] {
  const names = new Set<string>();
  for (const { from } of imports) if (from.cluster !== own) names.add(from.cluster);
  for (const { consumers } of exports) for (const { cluster } of consumers) names.add(cluster);
  return [...names].sort(compareText).flatMap((name) => {
    const cluster = state.clusters.get(name);
    return cluster === undefined ? [] : [peerOf(state, cluster)];
  });
}

const PEERS = new WeakMap<ClusterRecord, SnapshotPeer>();

/** One object for all snapshots that hold it, until the cluster says something else of itself. */
function peerOf(state: FederationState, cluster: ClusterState): SnapshotPeer {
  const { record } = cluster;
  const known = PEERS.get(record);
  if (known !== undefined) return known;
  const trustDomain = trustDomainOfCluster(state, cluster);
  const peer = { cluster: record.name, trustDomain, gateways: record.gateways };
  PEERS.set(record, peer);
  return peer;
}

const BUNDLES = new WeakMap<ClusterRecord, { readonly root: RootBundle; readonly bundle: TrustBundle }>();

/** One object for all snapshots that hold it. */
function bundleOf(state: FederationState, name: string, root: RootBundle): readonly TrustBundle[] {
  const cluster = state.clusters.get(name);
  if (cluster === undefined) return [];
  const { record } = cluster;
  const known = BUNDLES.get(record);
  if (known?.root === root) return [known.bundle];
  const trustDomain = trustDomainOfCluster(state, cluster);
  const bundle = { trustDomain, ...root, intermediates: record.authorities };
  BUNDLES.set(record, { root, bundle });
  return [bundle];
}

function compilePolicies(cluster: ClusterState): readonly SnapshotEgressPolicy[] {
  return sortedValues(cluster.policies).map((policy) => snapshotPolicy(policy));
}

const TRUST_DOMAINS = new WeakMap<ClusterRecord, TrustDomain>();

/** Remembered with the record: a hub's snapshot names thousands. */
function trustDomainOfCluster(state: FederationState, { record }: ClusterState): TrustDomain {
  const known = TRUST_DOMAINS.get(record);
  if (known !== undefined) return known;
  const made = trustDomainOf(state.federation, record.name);
  TRUST_DOMAINS.set(record, made);
  return made;
}

const SORTED = new WeakMap<object, readonly unknown[]>();

/** By key. Maps of a state never change, and most of them are compiled again and again. */
function sortedValues<V>(map: ReadonlyMap<string, V>): readonly V[] {
  const known = SORTED.get(map);
  if (known !== undefined) return known as readonly V[];
  const sorted = [...map].sort(([a], [b]) => compareText(a, b)).map(([, value]) => value);
  SORTED.set(map, sorted);
  return sorted;
}

/** By code unit: the same on every machine, whatever its locale. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Bundles as the bundle endpoint serves them: those of clusters that have joined. */
export function compileBundles(state: FederationState, root: RootBundle): readonly TrustBundle[] {
  return sortedValues(state.clusters)
    .filter(({ record }) => record.state === "joined")
    .map(({ record }) => ({ trustDomain: trustDomainOf(state.federation, record.name), ...root }));
}
