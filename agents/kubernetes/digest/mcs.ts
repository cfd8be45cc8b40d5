import type { KubeObject } from "../api/object.ts";
import { ANNOTATION } from "../labels.ts";
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
  /** Made by us; of others only those are touched that say what they stand for. */
  readonly managed: boolean;
  /** An alias, as somebody wrote it: whose export it stands for. */
  readonly from?: string;
  readonly object: KubeObject;
}

export function digestImport(object: KubeObject): KubeImport | undefined {
  const { namespace, name, uid = "", labels, annotations } = object.metadata;
  if (namespace === undefined) return undefined;
  const from = annotations?.[ANNOTATION.from];
  const said = from === undefined ? {} : { from };
  return { namespace, name, uid, managed: isManaged(labels), ...said, object };
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
