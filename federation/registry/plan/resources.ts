import type { Issue } from "../../model/problem.ts";
import { ok } from "../../model/result.ts";
import type { AppliedResource, Condition } from "../../model/resource.ts";
import type { ApplyResponse, ApplyResult, DeclareResponse, DeleteResponse } from "../../model/wire/api.ts";
import type { Draft, Planned } from "../change.ts";
import { conditionsOf } from "../conditions.ts";
import {
  appliedResources,
  type FederationState,
  findResource,
  type ItemKey,
  keyText,
  resourceKey,
} from "../state.ts";
import { refuse, unknownCluster } from "./refuse.ts";

/** Exports, imports and policies of one cluster: keeps a snapshot within a few MiB. */
const MAX_RESOURCES_PER_CLUSTER = 10_000;

interface Step {
  readonly action: ApplyResult["action"];
  readonly resource: AppliedResource;
  readonly previous?: AppliedResource;
}

/** All or nothing: one bad object refuses the batch, with the complaints about all of them. */
export function planApply(
  state: FederationState,
  command: {
    readonly resources: readonly AppliedResource[];
    readonly dryRun: boolean;
    readonly time: string;
  },
): Planned<ApplyResponse> {
  const issues = command.resources.flatMap((resource, index) =>
    referenceIssues(state, resource, index, "applied"),
  );
  if (issues.length > 0) return refuse("request_invalid", complaint(issues), { issues });
  const conflict = findConflict(state, command.resources);
  if (conflict !== undefined) return conflict;
  const steps = command.resources.map((resource) => planStep(state, resource, command.time));
  const full = overLimit(state, steps);
  if (full !== undefined)
    return refuse("limit_exceeded", `cluster ${full} has ${MAX_RESOURCES_PER_CLUSTER} resources already`);
  const changed = steps.filter(({ action }) => action !== "unchanged");
  const answer = (after: FederationState): ApplyResponse => ({
    revision: after.revision,
    dryRun: command.dryRun,
    results: steps.map((step) => applyResult(after, step)),
  });
  return changed.length === 0 ? ok({ answer }) : ok({ draft: applyDraftOf(changed), answer });
}

/**
 * What a cluster's control plane declares, as a complete set: what it declared before and leaves out now goes. Objects
 * that an operator applied stay as they are, also under the same name.
 */
export function planDeclare(
  state: FederationState,
  command: {
    readonly cluster: string;
    readonly resources: readonly AppliedResource[];
    readonly gateways: readonly string[] | undefined;
    readonly time: string;
  },
): Planned<DeclareResponse> {
  const foreign = command.resources.find(({ metadata }) => metadata.cluster !== command.cluster);
  if (foreign !== undefined)
    return refuse("forbidden", `cluster ${command.cluster} declares nothing for ${foreign.metadata.cluster}`);
  const known = state.clusters.get(command.cluster);
  if (known === undefined) return refuse("not_found", `there is no cluster ${command.cluster}`);
  const steps = command.resources.map((resource, index) => declareStep(state, resource, index, command.time));
  const wanted = new Set(command.resources.map((resource) => keyText(resourceKey(resource))));
  const deletes = appliedResources(known)
    .filter((resource) => resource.metadata.managedBy === MANAGED)
    .map(resourceKey)
    .filter((key) => !wanted.has(keyText(key)));
  const changed = steps.filter(({ action }) => action === "created" || action === "updated");
  if (appliedResources(known).length + changed.length - deletes.length > MAX_RESOURCES_PER_CLUSTER)
    return refuse("limit_exceeded", `cluster ${command.cluster} has ${MAX_RESOURCES_PER_CLUSTER} resources`);
  const answer = (after: FederationState): DeclareResponse => ({
    revision: after.revision,
    results: steps.map((step) => ({
      kind: step.resource.kind,
      metadata: step.resource.metadata,
      action: step.action,
      conditions: step.refusal === undefined ? [...conditionsOf(after, step.resource)] : [step.refusal],
    })),
  });
  const { record } = known;
  const gateways = record.gateways.filter(({ id }) => command.gateways?.includes(id) ?? true);
  const gone = record.gateways.length - gateways.length;
  if (changed.length === 0 && deletes.length === 0 && gone === 0) return ok({ answer });
  const draft = applyDraftOf(changed);
  const targets = [...draft.audit.targets, ...deletes.map(keyText)];
  const puts: Draft["puts"] =
    gone === 0
      ? draft.puts
      : [
          ...draft.puts,
          { kind: "Cluster", value: { ...record, gateways, resourceVersion: state.revision + 1 } },
        ];
  return ok({ draft: { puts, deletes, audit: { action: "resource.declare", targets } }, answer });
}

const MANAGED = "kubernetes";

interface DeclaredStep extends Omit<Step, "action"> {
  readonly action: Step["action"] | "shadowed" | "refused";
  readonly refusal?: Condition;
}

/** One that cannot be taken is told so and keeps none of the others away; what it was before stays in force. */
function declareStep(
  state: FederationState,
  resource: AppliedResource,
  index: number,
  time: string,
): DeclaredStep {
  const issues = referenceIssues(state, resource, index, "declared");
  if (issues.length > 0) {
    const message = issues.map(
      ({ path, message: what }) => `${path.replace(/^resources\[\d+\]\./, "")}: ${what}`,
    );
    const refusal = {
      type: "Accepted",
      status: "False",
      reason: "Invalid",
      message: message.join("; "),
    } as const;
    return { action: "refused", resource, refusal };
  }
  const theirs = findResource(state, resourceKey(resource));
  if (theirs !== undefined && theirs.metadata.managedBy !== MANAGED)
    return { action: "shadowed", resource: theirs };
  return planStep(state, withMetadata(resource, { managedBy: MANAGED }), time);
}

function applyDraftOf(changed: readonly Pick<Step, "resource">[]): Draft {
  const targets = changed.map(({ resource }) => keyText(resourceKey(resource)));
  return {
    puts: changed.map(({ resource }) => ({ kind: "Applied", value: resource })),
    deletes: [],
    audit: { action: "resource.apply", targets },
  };
}

function complaint(issues: readonly Issue[]): string {
  return issues.length === 1 ? (issues[0]?.message ?? "") : `${issues.length} mistakes`;
}

/** What the schema cannot know: which clusters there are. */
function referenceIssues(
  state: FederationState,
  resource: AppliedResource,
  index: number,
  by: "applied" | "declared",
): readonly Issue[] {
  const at = `resources[${index}]`;
  const { cluster } = resource.metadata;
  const issues: Issue[] = [];
  if (!state.clusters.has(cluster)) issues.push(unknownCluster(state, cluster, `${at}.metadata.cluster`));
  // Where a control plane speaks, a name may be one that only its own cluster exports: it means that everywhere.
  const isOwn = resource.kind === "ServiceImport" && resource.spec.from.cluster === cluster;
  if (isOwn && by === "applied") {
    const message = "a cluster imports from another one first; its own name may stand in spec.from.also";
    issues.push({ path: `${at}.spec.from.cluster`, message });
  }
  if (resource.kind === "EgressPolicy") {
    resource.spec.from.forEach((source, position) => {
      if (source.cluster === undefined || source.cluster === cluster) return;
      const path = `${at}.spec.from[${position}].cluster`;
      issues.push({ path, message: `a policy of ${cluster} speaks of that cluster's own workloads only` });
    });
  }
  if (resource.kind === "ServiceExport") {
    resource.spec.consumers.forEach((consumer, position) => {
      if (consumer.cluster !== cluster) return;
      const path = `${at}.spec.consumers[${position}].cluster`;
      issues.push({ path, message: "a cluster does not export to itself" });
    });
  }
  return issues;
}

/** A `resourceVersion` in the request is a condition: the object must still be the one that was read. */
function findConflict(state: FederationState, resources: readonly AppliedResource[]) {
  for (const resource of resources) {
    const expected = resource.metadata.resourceVersion;
    if (expected === undefined) continue;
    const key = resourceKey(resource);
    const current = findResource(state, key)?.metadata.resourceVersion;
    if (current === expected) continue;
    if (current === undefined) return refuse("version_conflict", `${keyText(key)} does not exist (any more)`);
    const detail = `${keyText(key)} is at version ${current}, the request expects ${expected}`;
    return refuse("version_conflict", detail, { resourceVersion: current });
  }
  return undefined;
}

function planStep(state: FederationState, resource: AppliedResource, time: string): Step {
  const key = resourceKey(resource);
  const previous = findResource(state, key);
  const same =
    previous?.metadata.managedBy === resource.metadata.managedBy &&
    JSON.stringify(previous?.spec) === JSON.stringify(resource.spec);
  if (previous !== undefined && same) return { action: "unchanged", resource: previous };
  const firstSeen = state.firstSeen.get(keyText(key)) ?? time;
  const next = withMetadata(resource, { resourceVersion: state.revision + 1, firstSeen });
  return previous === undefined
    ? { action: "created", resource: next }
    : { action: "updated", resource: next, previous };
}

/** Spelled out per kind, because a spread over the union loses which kind it was. */
function withMetadata(
  resource: AppliedResource,
  version: Pick<AppliedResource["metadata"], "resourceVersion" | "firstSeen" | "managedBy">,
): AppliedResource {
  switch (resource.kind) {
    case "ServiceExport":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "ServiceImport":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "EgressPolicy":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "TrafficRoute":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "RateLimit":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "BackendTrafficPolicy":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "AuthorizationPolicy":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
    case "Rollout":
      return { ...resource, metadata: { ...resource.metadata, ...version } };
  }
}

function overLimit(state: FederationState, steps: readonly Step[]): string | undefined {
  const counts = new Map<string, number>();
  for (const { action, resource } of steps) {
    if (action !== "created") continue;
    const { cluster } = resource.metadata;
    const known = state.clusters.get(cluster);
    const before = counts.get(cluster) ?? (known === undefined ? 0 : appliedResources(known).length);
    if (before >= MAX_RESOURCES_PER_CLUSTER) return cluster;
    counts.set(cluster, before + 1);
  }
  return undefined;
}

function applyResult(after: FederationState, step: Step): ApplyResult {
  const { action, resource, previous } = step;
  return {
    kind: resource.kind,
    metadata: resource.metadata,
    action,
    ...(previous === undefined ? {} : { previous: asWritten(previous) }),
    conditions: conditionsOf(after, resource),
  };
}

/** Without what only the registry writes: what an undo would apply. */
function asWritten(resource: AppliedResource): AppliedResource {
  if (resource.kind !== "Rollout") return resource;
  const { progress: _progress, ...written } = resource;
  return written;
}

export function planDeleteResource(
  state: FederationState,
  command: { readonly key: ItemKey; readonly resourceVersion: number | undefined; readonly dryRun: boolean },
): Planned<DeleteResponse> {
  const { key, resourceVersion, dryRun } = command;
  const deleted = findResource(state, key);
  if (deleted === undefined) return refuse("not_found", `there is no ${keyText(key)}`);
  const current = deleted.metadata.resourceVersion;
  if (resourceVersion !== undefined && current !== resourceVersion) {
    const detail = `${keyText(key)} is at version ${current}, the request expects ${resourceVersion}`;
    return refuse("version_conflict", detail, current === undefined ? {} : { resourceVersion: current });
  }
  return ok({
    draft: { puts: [], deletes: [key], audit: { action: "resource.delete", targets: [keyText(key)] } },
    answer: ({ revision }) => ({ revision, dryRun, deleted: asWritten(deleted) }),
  });
}
