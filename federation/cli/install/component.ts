import { readFileSync } from "node:fs";
import { parse } from "yaml";

/** As much of kustomize's `kind: Component` as ours need: objects by kind and name, changed by operations (RFC 6902). */
interface Component {
  readonly patches: readonly { readonly target: Target; readonly patch: string }[];
}

interface Target {
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
}

interface Operation {
  readonly op: "add" | "replace";
  readonly path: string;
  readonly value: unknown;
}

interface Named {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** Changes `documents` as `kubectl kustomize` would. */
export function applyComponent(documents: readonly Named[], file: URL): void {
  const { patches } = parse(readFileSync(file, "utf8")) as Component;
  for (const { target, patch } of patches) {
    const found = documents.filter((document) => isTarget(document, target));
    if (found.length !== 1)
      throw new TypeError(`${target.kind} ${target.name} is there ${found.length} times`);
    for (const operation of parse(patch) as readonly Operation[]) operate(found[0], operation);
  }
}

function isTarget({ kind, metadata }: Named, target: Target): boolean {
  if (kind !== target.kind || metadata.name !== target.name) return false;
  return target.namespace === undefined || metadata.namespace === target.namespace;
}

type Tree = { [key: string]: unknown };

function operate(document: unknown, { op, path, value }: Operation): void {
  const keys = path.split("/").slice(1);
  const last = keys.pop() ?? "";
  let parent = document as Tree;
  for (const key of keys) parent = parent[key] as Tree;
  if (op === "add" && Array.isArray(parent) && last === "-") parent.push(value);
  else if (op === "replace" && last in parent) parent[last] = value;
  else throw new TypeError(`${op} ${path} is no operation that is known here`);
}
