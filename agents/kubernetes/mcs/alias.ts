import { label } from "../../../federation/model/wire/fields.ts";
import type { KubeImport } from "../digest/mcs.ts";
import { ANNOTATION } from "../labels.ts";
import type { ImportName } from "./objects.ts";
import type { ExportFacts } from "./service-view.ts";

/** Whose export an alias stands for, by its owner's name: aliases are never exported, so none stands for another one. */
export interface AliasSource extends ImportName {
  /** Absent: every cluster that exports it. */
  readonly cluster?: string;
}

/** `status.conditions[Accepted].reason` of a ServiceImport that somebody wrote. */
export type AliasReason = "Accepted" | "Invalid" | "Conflict" | "NotFound" | "Denied";

export interface AliasRefusal {
  readonly reason: Exclude<AliasReason, "Accepted">;
  readonly message: string;
}

/** `east/billing/payments` or `billing/payments`. */
export function parseAliasSource(text: string): AliasSource | undefined {
  const words = text.trim().split("/");
  if (!words.every(isLabel)) return undefined;
  const [first = "", second = "", third] = words;
  if (words.length === 2) return { namespace: first, name: second };
  return words.length === 3 && third !== undefined
    ? { cluster: first, namespace: second, name: third }
    : undefined;
}

/**
 * What an alias says by itself, before anybody asks who exports that. A name that this cluster exports is taken: it would
 * mean one thing here and another one everywhere else.
 */
export function readAlias(
  { namespace, name, from = "" }: Pick<KubeImport, "namespace" | "name" | "from">,
  here: Pick<ExportFacts, "service" | "export">,
): AliasSource | AliasRefusal {
  if (!isLabel(name)) {
    const message = `${name} is no name of a service: a-z, 0-9 and "-", at most 63 characters`;
    return { reason: "Invalid", message };
  }
  const source = parseAliasSource(from);
  if (source === undefined) {
    const forms = "cluster/namespace/name, or namespace/name of every cluster that exports it";
    return { reason: "Invalid", message: `${ANNOTATION.from} is "${from.slice(0, 300)}"; expected ${forms}` };
  }
  const exported = here.export?.deleting === false || here.service?.exportLabel === true;
  if (!exported) return source;
  const message = `this cluster exports ${namespace}/${name} itself: choose another name, or export it no more`;
  return { reason: "Conflict", message };
}

export function isDeleting({ object }: KubeImport): boolean {
  return object.metadata.deletionTimestamp !== undefined;
}

function isLabel(text: string): boolean {
  return label.safeParse(text).success;
}
