import { type AppliedResource, sourceClusters } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import type { ApplyResponse, ApplyResult } from "../../model/wire/api.ts";
import { applyInLots } from "../apply-lots.ts";
import { EXIT } from "../exit.ts";
import { type Failure, fail } from "../failure.ts";
import { resourceName } from "../input/resource-file.ts";
import { hint, type Invocation, type Outcome } from "../invocation.ts";
import { isData, renderData } from "../output/format.ts";
import type { RegistryClient } from "../registry-client.ts";
import { readTimeout } from "../timeout.ts";
import { waitUntilApplied } from "./wait.ts";

/** One thing that changed, in the words that every mutating command uses. */
export interface Change {
  /** `serviceexport/east/shop/cart` */
  readonly name: string;
  readonly action: string;
  /** What makes the change undone; absent when nothing changed. */
  readonly undo?: string;
  /** What is worth knowing: a condition that is not met. */
  readonly note?: string;
  readonly clusters: readonly string[];
}

export interface Changed {
  readonly changes: readonly Change[];
  readonly dryRun: boolean;
  readonly next: readonly string[];
}

// Members hear of a change at once; half a minute covers one that is just starting.
const WAIT_TIMEOUT_MS = 30_000;

/** Applies, tells what changed and how to undo it, and waits if that was asked for. */
export async function applyAndTell(
  invocation: Invocation,
  registry: RegistryClient,
  resources: readonly AppliedResource[],
  next: readonly string[],
): Promise<Outcome> {
  const dryRun = invocation.flags.has("dryRun");
  const answer = await applyInLots(registry, resources, dryRun);
  if (!answer.ok) return answer;
  const changes = changesOf(answer.value, resources, invocation.terminal.program);
  return tellAndWait(invocation, registry, { changes, dryRun, next });
}

export async function tellAndWait(
  invocation: Invocation,
  registry: RegistryClient,
  changed: Changed,
): Promise<Outcome> {
  tell(invocation, changed);
  if (!invocation.flags.has("wait") || changed.dryRun) return ok(EXIT.yes);
  const timeoutMs = readTimeout(invocation, WAIT_TIMEOUT_MS);
  if (!timeoutMs.ok) return timeoutMs;
  const clusters = new Set(changed.changes.flatMap((change) => change.clusters));
  return waitUntilApplied(invocation, registry, clusters, timeoutMs.value);
}

export function tell(invocation: Invocation, { changes, dryRun, next }: Changed): void {
  const { terminal, format } = invocation;
  if (isData(format)) {
    const items = changes.map(({ clusters: _, ...change }) => change);
    terminal.out(
      renderData(format, { apiVersion: "isthmus.dev/v1alpha1", kind: "ChangeList", dryRun, items, next }),
    );
    return;
  }
  for (const { name, action, note } of changes) {
    if (format === "name") terminal.out(name);
    else
      terminal.out(`${name} ${action}${dryRun ? " (dry run)" : ""}${note === undefined ? "" : ` — ${note}`}`);
  }
  if (dryRun) return;
  for (const { undo } of changes) if (undo !== undefined) hint(invocation, "undo", undo);
  for (const command of next) hint(invocation, "next", command);
}

function changesOf(
  { results, dryRun }: ApplyResponse,
  resources: readonly AppliedResource[],
  program: string,
): readonly Change[] {
  const sent = new Map(resources.map((resource) => [resourceName(resource), resource]));
  return results.map((result) => {
    const name = resourceName(result);
    const resource = sent.get(name);
    const unmet = result.conditions.find((condition) => condition.status !== "True");
    const undo = undoOf(result, program);
    return {
      name,
      action: dryRun && result.action !== "unchanged" ? `would be ${result.action}` : result.action,
      clusters: [result.metadata.cluster, ...(resource === undefined ? [] : clustersConcerned(resource))],
      ...(undo === undefined ? {} : { undo }),
      ...(unmet === undefined ? {} : { note: `${unmet.reason}: ${unmet.message}` }),
    };
  });
}

function undoOf(result: ApplyResult, program: string): string | undefined {
  if (result.action === "unchanged") return undefined;
  if (result.action === "created") return `${program} delete ${resourceName(result)}`;
  return result.previous === undefined ? undefined : restoreCommand(result.previous, program);
}

/** A line for the shell that writes an object back as it was. */
export function restoreCommand(resource: AppliedResource, program: string): string {
  const { resourceVersion: _version, firstSeen: _seen, ...metadata } = resource.metadata;
  return `printf %s ${quoted(JSON.stringify({ ...resource, metadata }))} | ${program} apply -f -`;
}

/** For a POSIX shell: a header's value or a pattern may hold quotes, which must end nothing. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

/** Clusters whose snapshots an object is part of, besides its own. */
export function clustersConcerned(resource: AppliedResource): readonly string[] {
  switch (resource.kind) {
    case "ServiceExport":
      return resource.spec.consumers.map((consumer) => consumer.cluster);
    case "ServiceImport":
      return sourceClusters(resource);
    case "EgressPolicy":
    case "TrafficRoute":
    case "RateLimit":
    case "AuthorizationPolicy":
    case "BackendTrafficPolicy":
    case "Rollout":
      return [];
  }
}

export function requireCluster(cluster: string | undefined): Result<string, Failure> {
  return cluster === undefined
    ? fail("usage", "which cluster?", { fix: "pass --cluster <name>, or set ISTHMUS_CLUSTER" })
    : ok(cluster);
}
