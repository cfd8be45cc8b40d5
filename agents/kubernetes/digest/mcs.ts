import type { KubeObject } from "../api/object.ts";
import { fieldsOf, textMap } from "./fields.ts";
import { isManaged, ourAnnotations } from "./service.ts";

export interface KubeExport {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly deleting: boolean;
  readonly labels: { readonly [key: string]: string };
  readonly annotations: { readonly [key: string]: string };
  /** Ours: consumers and workloads. */
  readonly settings: { readonly [key: string]: string };
  readonly status: unknown;
}

export function digestExport({ metadata, spec, status }: KubeObject): KubeExport | undefined {
  const { namespace, name, uid = "", generation = 1, deletionTimestamp, annotations = {} } = metadata;
  if (namespace === undefined) return undefined;
  const { exportedLabels, exportedAnnotations } = fieldsOf(spec);
  return {
    namespace,
    name,
    uid,
    generation,
    deleting: deletionTimestamp !== undefined,
    labels: textMap(exportedLabels),
    annotations: textMap(exportedAnnotations),
    settings: ourAnnotations(annotations),
    status,
  };
}

export interface KubeImport {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Made by us; others are never touched. */
  readonly managed: boolean;
  readonly object: KubeObject;
}

export function digestImport(object: KubeObject): KubeImport | undefined {
  const { namespace, name, uid = "", labels } = object.metadata;
  return namespace === undefined ? undefined : { namespace, name, uid, managed: isManaged(labels), object };
}

export interface KubeNamespace {
  readonly name: string;
  readonly deleting: boolean;
  readonly settings: { readonly [key: string]: string };
}

export function digestNamespace({ metadata }: KubeObject): KubeNamespace {
  const { name, deletionTimestamp, annotations = {} } = metadata;
  return { name, deleting: deletionTimestamp !== undefined, settings: ourAnnotations(annotations) };
}
