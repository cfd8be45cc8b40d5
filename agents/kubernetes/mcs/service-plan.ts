import { type ConditionDraft, conditionsToWrite } from "./conditions.ts";
import { isReleased, planAlias, planReleased } from "./alias-plan.ts";
import { planImport } from "./import-plan.ts";
import type { MergedService } from "./merge.ts";
import { type Change, statusChange } from "./plan.ts";
import { type Imported, importedOf, type ServiceView } from "./service-view.ts";

/** What to write so that Kubernetes shows this service as the federation has it. Pure. */
export function planService(view: ServiceView): readonly Change[] {
  const imported = importedOf(view, view.cluster);
  return [...planObjects(view, imported), ...planExportStatus(view, imported)];
}

function planObjects(view: ServiceView, imported: Imported): readonly Change[] {
  if (view.alias !== undefined) return planAlias(view, view.alias);
  return isReleased(view.import) ? planReleased(view, view.import) : planImport(view, imported);
}

function planExportStatus(view: ServiceView, { merged, sources }: Imported): readonly Change[] {
  const { export: exported, types, now } = view;
  if (exported === undefined || exported.deleting) return [];
  const valid = validity(view);
  const drafts =
    valid.status === "True"
      ? [valid, readiness(view), conflict(merged, sources.length)]
      : [valid, notReady(valid)];
  const conditions = conditionsToWrite(drafts, exported.status, exported.generation, now);
  return conditions === undefined ? [] : [statusChange(types.exports, view, { conditions })];
}

function validity({ service, namespace, name }: ServiceView): ConditionDraft {
  const type = "Valid";
  if (service === undefined)
    return {
      type,
      status: "False",
      reason: "NoService",
      message: `there is no Service ${namespace}/${name}`,
    };
  const invalid = (message: string): ConditionDraft => ({
    type,
    status: "False",
    reason: "InvalidServiceType",
    message,
  });
  if (service.type === "ExternalName") return invalid("a Service of type ExternalName cannot be exported");
  if (service.derivedFor !== undefined) return invalid("an imported service cannot be exported again");
  if (!service.ports.some(({ protocol }) => protocol === "TCP"))
    return invalid("it has no TCP port; UDP and SCTP do not cross clusters");
  return { type, status: "True", reason: "Valid", message: "the Service can be exported" };
}

function readiness({ firstSeen, refused }: ServiceView): ConditionDraft {
  if (refused !== undefined) return { type: "Ready", status: "False", reason: "Failed", message: refused };
  return firstSeen === undefined
    ? { type: "Ready", status: "False", reason: "Pending", message: "the registry has not heard of it yet" }
    : {
        type: "Ready",
        status: "True",
        reason: "Exported",
        message: "the registry offers it to other clusters",
      };
}

function notReady({ message }: ConditionDraft): ConditionDraft {
  return { type: "Ready", status: "False", reason: "Failed", message };
}

function conflict({ conflicts }: MergedService, sources: number): ConditionDraft {
  if (conflicts.length > 0) {
    const message = `of ${sources} exports of this service the oldest one's choice is used: ${conflicts.join(", ")}`;
    return { type: "Conflict", status: "True", reason: conflicts.join(","), message };
  }
  return { type: "Conflict", status: "False", reason: "NoConflicts", message: "all exports of it agree" };
}
