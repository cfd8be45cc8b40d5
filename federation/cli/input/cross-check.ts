import type { Issue } from "../../model/problem.ts";
import type { AppliedResource, ServiceExportResource, ServiceImportResource } from "../../model/resource.ts";
import { sourcePattern } from "../../model/egress-policy.ts";
import { serviceKey } from "../../model/service.ts";
import { parseSpiffeId } from "../../model/spiffe-id.ts";
import { nearest } from "../../model/wire/nearest.ts";
import { matchWorkload } from "../../model/workload-pattern.ts";
import { type FileIndex, importedService } from "./file-index.ts";

/**
 * What one document says about another. A name that nothing in the file has is a mistake; halves that do not meet (yet) are
 * only worth a warning, because the other half may come later by `isthmus apply`.
 */
export interface CrossCheck {
  readonly mistakes: readonly Issue[];
  readonly warnings: readonly Issue[];
}

export function crossCheck(resource: AppliedResource, file: FileIndex): CrossCheck {
  const findings: Findings = { mistakes: [], warnings: [], file };
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
  readonly file: FileIndex;
}

function checkExport(findings: Findings, { metadata, spec }: ServiceExportResource): void {
  const services = findings.file.clusters.get(metadata.cluster)?.services;
  if (services !== undefined && !services.has(serviceKey(metadata))) {
    const message = `cluster ${metadata.cluster} has no service ${serviceKey(metadata)}`;
    const suggestion = nearest(serviceKey(metadata), [...services.keys()]);
    findings.mistakes.push(issue("metadata.name", message, suggestion));
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
  if (!findings.file.clusters.has(owner) || findings.file.exportOf(resource) !== undefined) return;
  const message = `cluster ${owner} does not export ${serviceKey(importedService(resource))} to ${resource.metadata.cluster}; the import waits for that`;
  findings.warnings.push(issue("spec.from", message));
}

function checkCluster({ file, mistakes }: Findings, path: string, name: string): void {
  if (file.clusters.has(name)) return;
  const suggestion = nearest(name, [...file.clusters.keys()]);
  mistakes.push(issue(path, `there is no cluster ${name} in this file`, suggestion));
}

function checkPattern({ file, warnings }: Findings, path: string, cluster: string, pattern: string): void {
  const workloads = file.clusters.get(cluster)?.workloads;
  if (workloads === undefined || workloads.some((name) => patternFits(pattern, name))) return;
  const message = `"${pattern}" fits no workload of cluster ${cluster}`;
  warnings.push(issue(path, message, nearest(pattern, workloads)));
}

function patternFits(pattern: string, workload: string): boolean {
  const id = parseSpiffeId(`spiffe://any/${workload}`);
  return id.ok && matchWorkload(pattern, id.value);
}

function issue(path: string, message: string, suggestion?: string): Issue {
  return suggestion === undefined ? { path, message } : { path, message, suggestion };
}
