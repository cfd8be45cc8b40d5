import type { Issue } from "../../model/problem.ts";
import type { AppliedResource, ServiceExportResource, ServiceImportResource } from "../../model/resource.ts";
import { sourcePattern } from "../../model/egress-policy.ts";
import { serviceKey } from "../../model/service.ts";
import { parseSpiffeId } from "../../model/spiffe-id.ts";
import { servicesOf, staticWorkloadName } from "../../model/static-cluster.ts";
import type { LocalCluster, LocalFederation } from "../../model/wire/local-federation.ts";
import { nearest } from "../../model/wire/nearest.ts";
import { matchWorkload } from "../../model/workload-pattern.ts";

/**
 * What one document says about another. A name that nothing in the file has is a mistake; halves that do not meet (yet) are
 * only worth a warning, because the other half may come later by `isthmus apply`.
 */
export interface CrossCheck {
  readonly mistakes: readonly Issue[];
  readonly warnings: readonly Issue[];
}

export function crossCheck(
  resource: AppliedResource,
  federation: LocalFederation,
  all: readonly AppliedResource[],
): CrossCheck {
  const names = federation.spec.clusters.map((cluster) => cluster.name);
  const findings: Findings = { mistakes: [], warnings: [], clusters: federation.spec.clusters, names, all };
  checkCluster(findings, "metadata.cluster", resource.metadata.cluster);
  switch (resource.kind) {
    case "ServiceExport":
      checkExport(findings, resource);
      break;
    case "ServiceImport":
      checkImport(findings, resource);
      break;
    case "EgressPolicy":
      resource.spec.from.forEach((source, index) => {
        const path = `spec.from[${index}]`;
        checkPattern(findings, path, resource.metadata.cluster, sourcePattern(source));
      });
      break;
    case "TrafficRoute":
    case "RateLimit":
    case "AuthorizationPolicy":
    case "BackendTrafficPolicy":
    case "Rollout":
      // What they are about may come later: their Ready condition tells.
      break;
  }
  return findings;
}

interface Findings {
  readonly mistakes: Issue[];
  readonly warnings: Issue[];
  readonly clusters: readonly LocalCluster[];
  readonly names: readonly string[];
  readonly all: readonly AppliedResource[];
}

function checkExport(findings: Findings, { metadata, spec }: ServiceExportResource): void {
  const owner = findings.clusters.find((cluster) => cluster.name === metadata.cluster);
  const services = owner === undefined ? undefined : clusterServices(owner);
  if (services !== undefined && !services.includes(serviceKey(metadata))) {
    const message = `cluster ${metadata.cluster} has no service ${serviceKey(metadata)}`;
    findings.mistakes.push(issue("metadata.name", message, nearest(serviceKey(metadata), services)));
  }
  spec.consumers.forEach((consumer, index) => {
    const path = `spec.consumers[${index}]`;
    checkCluster(findings, `${path}.cluster`, consumer.cluster);
    consumer.workloads?.forEach((pattern, at) => {
      checkPattern(findings, `${path}.workloads[${at}]`, consumer.cluster, pattern);
    });
  });
}

function checkImport(findings: Findings, resource: ServiceImportResource): void {
  const { cluster: owner, also } = resource.spec.from;
  checkCluster(findings, "spec.from.cluster", owner);
  also?.forEach((name, index) => checkCluster(findings, `spec.from.also[${index}]`, name));
  if (!findings.names.includes(owner) || exportOf(resource, findings.all) !== undefined) return;
  const message = `cluster ${owner} does not export ${serviceKey(importedService(resource))} to ${resource.metadata.cluster}; the import waits for that`;
  findings.warnings.push(issue("spec.from", message));
}

function checkCluster({ names, mistakes }: Findings, path: string, name: string): void {
  if (names.includes(name)) return;
  mistakes.push(issue(path, `there is no cluster ${name} in this file`, nearest(name, names)));
}

function checkPattern(
  { clusters, warnings }: Findings,
  path: string,
  cluster: string,
  pattern: string,
): void {
  const owner = clusters.find(({ name }) => name === cluster);
  if (owner === undefined) return;
  const workloads = owner.workloads.map(staticWorkloadName);
  if (workloads.some((name) => patternFits(pattern, name))) return;
  const message = `"${pattern}" fits no workload of cluster ${cluster}`;
  warnings.push(issue(path, message, nearest(pattern, workloads)));
}

function patternFits(pattern: string, workload: string): boolean {
  const id = parseSpiffeId(`spiffe://any/${workload}`);
  return id.ok && matchWorkload(pattern, id.value);
}

function clusterServices(cluster: LocalCluster): readonly string[] {
  return localServices(cluster).map(serviceKey);
}

export function localServices({ name, workloads }: LocalCluster) {
  return servicesOf({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "StaticCluster",
    metadata: { name },
    spec: { gateways: [], agents: [], workloads },
  });
}

/** The service at its owner: the import's own name, unless it is an alias. */
export function importedService({ metadata, spec }: ServiceImportResource) {
  return { namespace: spec.from.namespace ?? metadata.namespace, name: spec.from.name ?? metadata.name };
}

/** The export that makes the import work; of its first source unless another is named. */
export function exportOf(
  resource: ServiceImportResource,
  all: readonly AppliedResource[],
  owner = resource.spec.from.cluster,
): ServiceExportResource | undefined {
  const { namespace, name } = importedService(resource);
  return all.find(
    (candidate): candidate is ServiceExportResource =>
      candidate.kind === "ServiceExport" &&
      candidate.metadata.cluster === owner &&
      candidate.metadata.namespace === namespace &&
      candidate.metadata.name === name &&
      candidate.spec.consumers.some((consumer) => consumer.cluster === resource.metadata.cluster),
  );
}

function issue(path: string, message: string, suggestion?: string): Issue {
  return suggestion === undefined ? { path, message } : { path, message, suggestion };
}
