import { type EgressOverlap, findOverlaps } from "../model/egress-overlap.ts";
import { serviceTargets } from "../model/egress-policy.ts";
import {
  type AppliedResource,
  type Condition,
  type EgressPolicyResource,
  type Resource,
  type RolloutResource,
  type RuleResource,
  type ServiceExportResource,
  type ServiceImportResource,
  type ServiceResource,
  sourceClusters,
  type WithStatus,
} from "../model/resource.ts";
import { nearest } from "../model/wire/nearest.ts";
import { targetsOf } from "./compile-rules.ts";
import { acceptedConsumers, EVERY_CLUSTER, type MissingLink, resolveImport, sourceId } from "./links.ts";
import { rolloutVersions } from "./rollout-versions.ts";
import { ROUTE_REASONS, routeConditions } from "./route-conditions.ts";
import { type ClusterState, type FederationState, serviceId } from "./state.ts";

/** The reasons of each condition type: what programs may compare; messages are for people. */
export const CONDITION_REASONS = {
  /** ServiceExport: whether the service that it names exists. */
  Valid: ["Valid", "NoService", "ClusterPending"],
  /** ServiceExport: whether some cluster uses it. */
  Exported: ["Exported", "NoConsumers", "ConsumerUnknown", "NotImported"],
  /** Everything else that people write. */
  Ready: [
    "Ready",
    "ClusterUnknown",
    "ClusterPending",
    "NotExported",
    "NotPermitted",
    "NoService",
    "NoGateway",
    "NotImported",
    "VersionNotFound",
  ],
  /** EgressPolicy, where another one fits the same callers and destinations: whether it matters who wins. */
  Distinct: ["Overlapping", "Contradicting"],
  /** Rollout: where it stands. */
  Progressing: ["Observing", "Progressing", "Paused", "Succeeded", "RolledBack", "Aborted"],
  ...ROUTE_REASONS,
  /** Cluster. */
  Joined: ["Joined", "Pending"],
} as const;

type ConditionType = keyof typeof CONDITION_REASONS;

function condition<T extends ConditionType>(
  type: T,
  status: Condition["status"],
  reason: (typeof CONDITION_REASONS)[T][number],
  message: string,
): Condition {
  return { type, status, reason, message };
}

export function withConditions<R extends Resource>(state: FederationState, resource: R): WithStatus<R> {
  return { ...resource, status: { conditions: conditionsOf(state, resource) } };
}

export function conditionsOf(state: FederationState, resource: Resource): readonly Condition[] {
  switch (resource.kind) {
    case "ServiceExport":
      return [exportValid(state, resource), exportUsed(state, resource)];
    case "ServiceImport":
      return [importReady(state, resource)];
    case "EgressPolicy":
      return [policyReady(state, resource), ...policyOverlaps(state, resource)];
    case "TrafficRoute":
      return routeConditions(state, resource);
    case "RateLimit":
    case "AuthorizationPolicy":
    case "BackendTrafficPolicy":
      return [ruleReady(state, resource)];
    case "Rollout":
      return [ruleReady(state, resource), rolloutProgressing(resource)];
    case "Cluster":
      return [clusterJoined(state, resource.metadata.name)];
    case "Service":
      return [];
  }
}

function exportValid(state: FederationState, { metadata }: ServiceExportResource): Condition {
  const cluster = state.clusters.get(metadata.cluster);
  if (cluster?.services.has(serviceId(metadata)) === true) {
    return condition("Valid", "True", "Valid", "the service exists");
  }
  if (cluster?.record.state !== "joined") {
    return condition("Valid", "False", "ClusterPending", `cluster ${metadata.cluster} has not joined yet`);
  }
  const text = `cluster ${metadata.cluster} reports no service ${shortName(metadata)}`;
  return condition("Valid", "False", "NoService", text + didYouMean(metadata, cluster.services.values()));
}

function exportUsed(state: FederationState, resource: ServiceExportResource): Condition {
  const { consumers } = resource.spec;
  if (consumers.length === 0)
    return condition("Exported", "False", "NoConsumers", "the export names no consumer");
  const known = [...state.clusters.keys()];
  const unknown = consumers
    .map(({ cluster }) => cluster)
    .filter((name) => name !== EVERY_CLUSTER && !state.clusters.has(name));
  if (unknown.length > 0) {
    const text = `no cluster of this federation is called ${unknown.join(", ")}`;
    return condition("Exported", "False", "ConsumerUnknown", text + suggestion(unknown[0], known));
  }
  const accepted = new Set(acceptedConsumers(state, resource).map(({ cluster }) => cluster.record.name));
  const waiting = consumers.map(({ cluster }) => cluster).filter((name) => !accepted.has(name));
  const everyone = waiting.includes(EVERY_CLUSTER);
  if (accepted.size === 0) {
    const text = everyone ? "not imported yet by any cluster" : `not imported yet by ${waiting.join(", ")}`;
    return condition("Exported", "False", "NotImported", text);
  }
  const rest = waiting.length === 0 || everyone ? "" : `; not yet by ${waiting.join(", ")}`;
  return condition("Exported", "True", "Exported", `imported by ${[...accepted].join(", ")}${rest}`);
}

/** Ready as soon as one source works; the message tells of those that do not. */
function importReady(state: FederationState, resource: ServiceImportResource): Condition {
  const sources = sourceClusters(resource).map((owner) => sourceReady(state, resource, owner));
  const working = sources.filter(({ status }) => status === "True");
  const broken = sources.filter(({ status }) => status !== "True");
  const [first] = working.length === 0 ? broken : working;
  const message = [...working, ...broken].map((source) => source.message).join("; ");
  return condition("Ready", first?.status ?? "False", first?.reason ?? "ClusterUnknown", message);
}

function sourceReady(state: FederationState, resource: ServiceImportResource, owner: string) {
  const resolved = resolveImport(state, resource, owner);
  if ("missing" in resolved) {
    const text = missingText(state, resource, owner, resolved.missing);
    return { status: "False", reason: resolved.missing, message: text } as const;
  }
  if (owner === resource.metadata.cluster)
    return { status: "True", reason: "Ready", message: `cluster ${owner} has it itself` } as const;
  if (resolved.link.exporter.record.gateways.length === 0) {
    const message = `cluster ${owner} has no gateway that others can reach yet`;
    return { status: "False", reason: "NoGateway", message } as const;
  }
  return { status: "True", reason: "Ready", message: `cluster ${owner} exports it to this cluster` } as const;
}

function missingText(
  state: FederationState,
  resource: ServiceImportResource,
  owner: string,
  missing: MissingLink,
): string {
  const [namespace = "", name = ""] = sourceId(resource).split("/");
  const service = shortName({ namespace, name });
  const cluster = state.clusters.get(owner);
  switch (missing) {
    case "ClusterUnknown":
      return `no cluster of this federation is called ${owner}${suggestion(owner, [...state.clusters.keys()])}`;
    case "ClusterPending":
      return `cluster ${owner} has not joined yet`;
    case "NotExported":
      return `cluster ${owner} does not export ${service}${didYouMean({ namespace, name }, cluster?.exports.values())}`;
    case "NotPermitted":
      return `cluster ${owner} exports ${service}, but not to ${resource.metadata.cluster}`;
    case "NoService":
      return owner === resource.metadata.cluster
        ? `cluster ${owner} reports no service ${service}`
        : `cluster ${owner} exports ${service}, but reports no such service`;
  }
}

function policyReady(state: FederationState, { metadata, spec }: EgressPolicyResource): Condition {
  const imports = state.clusters.get(metadata.cluster)?.imports;
  const missing = serviceTargets(spec).filter((service) => imports?.has(serviceId(service)) !== true);
  const [first] = missing;
  if (first === undefined)
    return condition("Ready", "True", "Ready", "every service that it names is imported");
  const text = `cluster ${metadata.cluster} does not import ${missing.map(shortName).join(", ")}`;
  return condition("Ready", "False", "NotImported", text + didYouMean(first, imports?.values()));
}

/** Who wins where another policy fits the same callers and external destinations. */
function policyOverlaps(state: FederationState, { metadata }: EgressPolicyResource): readonly Condition[] {
  const policies = state.clusters.get(metadata.cluster)?.policies;
  const overlaps = (policies === undefined ? undefined : overlapsOf(policies).get(metadata.name)) ?? [];
  if (overlaps.length === 0) return [];
  const text = overlaps.map(overlapText).join("; ");
  return [
    overlaps.some(({ differing }) => differing.length > 0)
      ? condition("Distinct", "False", "Contradicting", text)
      : condition("Distinct", "True", "Overlapping", text),
  ];
}

function overlapText({ winner, loser, destination, reason, differing }: EgressOverlap): string {
  const about = differing.length === 0 ? "they say the same" : `they differ in ${differing.join(", ")}`;
  return `${winner} wins over ${loser} for ${destination} (${reason}); ${about}`;
}

const OVERLAPS = new WeakMap<ClusterState["policies"], ReturnType<typeof findOverlaps>>();

/** Derived once per map, which never changes: a listing asks for every policy in turn. */
function overlapsOf(policies: ClusterState["policies"]): ReturnType<typeof findOverlaps> {
  const known = OVERLAPS.get(policies);
  if (known !== undefined) return known;
  const made = findOverlaps(
    [...policies.values()].map(({ metadata, spec }) => ({ name: metadata.name, spec })),
  );
  OVERLAPS.set(policies, made);
  return made;
}

/** Whether what a rule is about is there. */
function ruleReady(state: FederationState, rule: RuleResource): Condition {
  const { cluster, namespace } = rule.metadata;
  const owner = state.clusters.get(cluster);
  for (const { kind, name } of targetsOf(rule)) {
    const known = kind === "Service" ? owner?.exports : owner?.imports;
    const service = { namespace, name };
    if (known?.has(serviceId(service)) === true) continue;
    const [reason, verb] =
      kind === "Service" ? (["NotExported", "export"] as const) : (["NotImported", "import"] as const);
    const text = `cluster ${cluster} does not ${verb} ${shortName(service)}`;
    return condition("Ready", "False", reason, text + didYouMean(service, known?.values()));
  }
  if (rule.kind === "Rollout") {
    const { known, missing } = rolloutVersions(state, rule);
    const [version] = missing;
    if (version !== undefined) {
      const service = shortName({ namespace, name: rule.spec.targetRef.name });
      const others = known.length === 0 ? "" : `, only ${known.join(", ")}`;
      return condition("Ready", "False", "VersionNotFound", `${service} has no version ${version}${others}`);
    }
  }
  return condition("Ready", "True", "Ready", "every service that it names is there");
}

function rolloutProgressing({ progress }: RolloutResource): Condition {
  if (progress === undefined) return condition("Progressing", "Unknown", "Progressing", "not begun yet");
  const { phase, message } = progress;
  const isFailure = phase === "RolledBack" || phase === "Aborted";
  return condition("Progressing", isFailure ? "False" : "True", phase, message);
}

function clusterJoined(state: FederationState, name: string): Condition {
  return state.clusters.get(name)?.record.state === "joined"
    ? condition("Joined", "True", "Joined", "the cluster has redeemed its join token")
    : condition("Joined", "False", "Pending", "the cluster has not redeemed its join token yet");
}

function shortName(service: { readonly namespace: string; readonly name: string }): string {
  return `${service.name}.${service.namespace}`;
}

function didYouMean(
  wanted: { readonly namespace: string; readonly name: string },
  known: Iterable<AppliedResource | ServiceResource> = [],
): string {
  const names = [...known].flatMap((item) =>
    item.kind === "EgressPolicy" ? [] : [shortName(item.metadata)],
  );
  return suggestion(shortName(wanted), names);
}

function suggestion(word: string | undefined, known: readonly string[]): string {
  const found = word === undefined ? undefined : nearest(word, known);
  return found === undefined ? "" : ` (did you mean ${found}?)`;
}

/** A cluster as a resource, for listings that hold every kind. */
export function clusterResource(state: FederationState, cluster: ClusterState): Resource {
  const { name, resourceVersion } = cluster.record;
  const firstSeen = state.firstSeen.get(`Cluster/${name}`) ?? cluster.record.registeredAt;
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Cluster",
    metadata: { name, resourceVersion, firstSeen },
    spec: {},
  };
}
