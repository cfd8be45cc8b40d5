import { PROBLEMS } from "../../model/problem.ts";
import { type Condition, type Resource, sourceClusters, type WithStatus } from "../../model/resource.ts";
import { serviceKey } from "../../model/service.ts";
import { importedService } from "../input/file-index.ts";
import { type CheckResult, passed } from "./result.ts";

const CATEGORY = "services";

/** The two halves of everything that is shared: the registry judges them, here is told what to do about it. */
export function checkServices(resources: readonly WithStatus<Resource>[]): readonly CheckResult[] {
  const results = resources.flatMap((item) => {
    const name = statement(item);
    return name === undefined ? [] : [checkConditions(name, item)];
  });
  if (results.length > 0) return results;
  return [
    {
      category: CATEGORY,
      name: "something is shared",
      status: "warning",
      detail: "nothing is exported or imported yet",
      fix: "isthmus service export <service> --cluster <owner> --to <consumer>",
    },
  ];
}

function statement(item: Resource): string | undefined {
  const { metadata } = item;
  switch (item.kind) {
    case "ServiceExport":
      return `${item.metadata.cluster} exports ${serviceKey(item.metadata)}`;
    case "ServiceImport":
      return `${item.metadata.cluster} imports ${serviceKey(item.metadata)} from ${sourceClusters(item).join(", ")}`;
    case "EgressPolicy":
      return `egress policy ${metadata.name} of ${item.metadata.cluster} names known services`;
    case "TrafficRoute":
    case "RateLimit":
    case "AuthorizationPolicy":
    case "BackendTrafficPolicy":
    case "Rollout":
      return `${item.kind} ${serviceKey(item.metadata)} of ${item.metadata.cluster} names known services`;
    case "Cluster":
    case "Service":
      return undefined;
  }
}

function checkConditions(name: string, item: WithStatus<Resource>): CheckResult {
  const { conditions } = item.status;
  const bad = conditions.filter(({ status }) => status !== "True");
  const [worst] = bad.toSorted((a, b) => Number(isWarning(a)) - Number(isWarning(b)));
  if (worst === undefined) return passed(CATEGORY, name, conditions.at(-1)?.message);
  const { code, fix } = remedy(worst.reason, item);
  const detail = `${worst.message} (${worst.reason})`;
  return { category: CATEGORY, name, status: isWarning(worst) ? "warning" : "failed", detail, code, fix };
}

/** Half of a sharing that waits for the other half does no harm. */
function isWarning({ reason }: Condition): boolean {
  return ["NotImported", "NoConsumers", "ClusterPending", "RolledBack", "Aborted"].includes(reason);
}

function clusterOf(item: Resource): string {
  return "cluster" in item.metadata ? item.metadata.cluster : item.metadata.name;
}

function remedy(reason: string, item: Resource): { readonly code: string; readonly fix: string } {
  const owner = item.kind === "ServiceImport" ? item.spec.from.cluster : "<cluster>";
  switch (reason) {
    case "NotExported":
    case "NotPermitted": {
      const { code } = PROBLEMS.not_exported;
      if (item.kind !== "ServiceImport") return PROBLEMS.not_exported;
      const service = serviceKey(importedService(item));
      return {
        code,
        fix: `isthmus service export ${service} --cluster ${owner} --to ${item.metadata.cluster}`,
      };
    }
    case "NotImported": {
      const { code } = PROBLEMS.not_imported;
      if (item.kind !== "ServiceExport")
        return { code, fix: "isthmus service import <service> --from <cluster>" };
      const { cluster } = item.metadata;
      const consumer = item.spec.consumers[0]?.cluster ?? "<cluster>";
      return {
        code,
        fix: `isthmus service import ${serviceKey(item.metadata)} --from ${cluster} --cluster ${consumer}`,
      };
    }
    case "NoMatchingParent":
      return { code: PROBLEMS.not_imported.code, fix: "import the service, or mend spec.parentRefs" };
    case "BackendNotFound":
      return PROBLEMS.route_backend_missing;
    case "NoService":
      return { code: PROBLEMS.no_route.code, fix: "write the service into its cluster's services file" };
    case "NoGateway":
      return { code: PROBLEMS.gateway_unreachable.code, fix: `start a gateway of ${owner} with --advertise` };
    case "VersionNotFound":
      return {
        code: PROBLEMS.no_endpoint.code,
        fix: "start endpoints of that version, or mend its name and apply",
      };
    case "RolledBack":
    case "Aborted":
      return {
        code: PROBLEMS.rollout_failed.code,
        fix: `isthmus rollout status ${item.metadata.name} --cluster ${clusterOf(item)}, then mend the version and apply`,
      };
    case "ClusterPending":
      return {
        code: PROBLEMS.not_found.code,
        fix: `isthmus cluster register ${owner}, then join on its machine`,
      };
    default:
      return { code: PROBLEMS.not_found.code, fix: "mend the name, then isthmus apply -f the file again" };
  }
}
