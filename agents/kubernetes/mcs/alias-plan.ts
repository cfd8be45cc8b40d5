import { fieldsOf, list } from "../digest/fields.ts";
import type { KubeImport } from "../digest/mcs.ts";
import { ANNOTATION } from "../labels.ts";
import { type AliasReason, type AliasRefusal, type AliasSource, isDeleting, readAlias } from "./alias.ts";
import type { ConditionDraft } from "./conditions.ts";
import {
  addressesOf,
  currentObjects,
  derivedObjects,
  ownedObjects,
  planImportStatus,
  readiness,
} from "./import-plan.ts";
import { mergeSources } from "./merge.ts";
import { aliasObject, type Desired, ownerOf } from "./objects.ts";
import { type Change, holdsNewer, plan, statusChange } from "./plan.ts";
import { type AliasFacts, importedOf, type ServiceView } from "./service-view.ts";

/**
 * Fills a ServiceImport that somebody wrote for a service of their choosing. Theirs stays theirs: what is written is its
 * spec and its status, and it is never deleted.
 */
export function planAlias(view: ServiceView, alias: AliasFacts): readonly Change[] {
  const { import: made, types } = view;
  if (made === undefined) return [];
  if (!view.open || isDeleting(made)) return plan([], derivedObjects(view), view);
  const seen: ServiceView = { ...view, ...alias };
  const imported = importedOf(alias, view.cluster);
  const source = readAlias(made, view);
  const refusal = "reason" in source ? source : refusalOf(view, alias, source, imported.merged.ports.length);
  if (refusal !== undefined) return planRefused(view, made, refusal);
  const owner = view.installation ?? ownerOf(types.imports, view.name, made.uid);
  const filled = aliasObject(types.imports, made, imported.merged, addressesOf(view));
  return [
    ...fill(view, made, filled),
    ...plan(ownedObjects(seen, imported, owner), derivedObjects(view), view),
    ...planImportStatus(view, imported.sources, [accepted(made), readiness(seen, imported)]),
  ];
}

/** Nobody's export: what was there goes, if it is certain, and its owner is told. */
function planRefused(view: ServiceView, made: KubeImport, refusal: AliasRefusal): readonly Change[] {
  // An older snapshot, or half of the lists: what we do not see may well be there.
  if (!view.complete || holdsNewer(currentObjects(view), view.revision)) return [];
  const { reason, message } = refusal;
  const drafts = (["Accepted", "Ready"] as const).map(
    (type): ConditionDraft => ({ type, status: "False", reason, message }),
  );
  return [
    ...fill(view, made, emptied(view, made)),
    ...plan([], derivedObjects(view), view),
    ...planImportStatus(view, [], drafts),
  ];
}

/** What an import says of which nothing is known: a spec has to have a type and ports. */
function emptied({ types }: ServiceView, made: KubeImport): Desired {
  return aliasObject(types.imports, made, mergeSources([]), []);
}

/** Whether it was an alias until somebody took away what it stands for; a copy of one has no conditions. */
export function isReleased(made: KubeImport | undefined): made is KubeImport {
  if (made?.managed !== false || made.from !== undefined) return false;
  if (made.object.metadata.annotations?.[ANNOTATION.applied] === undefined) return false;
  const conditions = list(fieldsOf(made.object.status)["conditions"]);
  return conditions.some((each) => fieldsOf(each)["type"] === "Accepted");
}

/** Its author's again: we say nothing of it any more. */
export function planReleased(view: ServiceView, made: KubeImport): readonly Change[] {
  return [
    ...plan([], derivedObjects(view), view),
    ...fill(view, made, emptied(view, made)),
    statusChange(view.types.imports, view, { clusters: [], conditions: [] }),
    // Our annotations go last: until then it is known by them.
    { kind: "apply", ...emptied(view, made) },
  ];
}

function fill({ types, revision }: ServiceView, { object }: KubeImport, wanted: Desired): readonly Change[] {
  return plan([wanted], [{ type: types.imports, object }], { complete: false, revision });
}

function accepted({ from = "" }: KubeImport): ConditionDraft {
  const reason: AliasReason = "Accepted";
  return { type: "Accepted", status: "True", reason, message: `it stands for ${from.trim()}` };
}

function refusalOf(
  { namespace }: ServiceView,
  { unaccepted, told }: AliasFacts,
  { cluster, namespace: space, name }: AliasSource,
  ports: number,
): AliasRefusal | undefined {
  if (ports > 0) return undefined;
  if (unaccepted.length > 0) {
    const message = `namespace ${namespace} accepts nothing of cluster ${unaccepted.join(", ")} (${ANNOTATION.importFrom})`;
    return { reason: "Denied", message };
  }
  if (told?.reason === "NotPermitted") return { reason: "Denied", message: told.message };
  const whose = cluster === undefined ? "no cluster exports" : `cluster ${cluster} does not export`;
  const message = `${whose} ${name}.${space} to this one`;
  return {
    reason: "NotFound",
    message: told === undefined || told.reason === "Ready" ? message : told.message,
  };
}
