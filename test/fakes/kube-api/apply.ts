/**
 * Server-side apply, as far as agents need it: every manager owns the leaves that it applied last, what it leaves out is
 * removed when nobody else owns it, and another manager's leaf with another value is a conflict unless forced.
 */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
type Tree = { [key: string]: Json };

/** Lists whose items are told apart by these fields; all other lists are one value. */
const LIST_KEYS: { readonly [field: string]: readonly string[] } = {
  conditions: ["type"],
  ownerReferences: ["uid"],
};

export type ManagedFields = Map<string, ReadonlySet<string>>;

export interface Applied {
  readonly object: Tree;
  /** Leaves that another manager owns with another value, and that manager. */
  readonly conflicts: readonly string[];
}

export function applyFields(
  current: Tree,
  given: Tree,
  manager: string,
  managed: ManagedFields,
  force: boolean,
): Applied {
  const wanted = leavesOf(given);
  const have = leavesOf(current);
  const conflicts: string[] = [];
  for (const [path, value] of wanted) {
    if (!have.has(path) || JSON.stringify(have.get(path)) === JSON.stringify(value)) continue;
    for (const [other, paths] of managed)
      if (other !== manager && paths.has(path))
        conflicts.push(`${path.replaceAll("\0", ".")} is managed by ${other}`);
  }
  if (conflicts.length > 0 && !force) return { object: current, conflicts };
  const next = new Map(have);
  const before = managed.get(manager) ?? new Set<string>();
  for (const path of before) {
    const shared = [...managed].some(([other, paths]) => other !== manager && paths.has(path));
    if (!wanted.has(path) && !shared) next.delete(path);
  }
  for (const [path, value] of wanted) {
    for (const known of [...next.keys()])
      if (known !== path && (known.startsWith(`${path}\0`) || path.startsWith(`${known}\0`)))
        next.delete(known);
    next.set(path, value);
    for (const [other, paths] of managed)
      if (other !== manager && force && conflicts.length > 0 && paths.has(path))
        managed.set(other, new Set([...paths].filter((each) => each !== path)));
  }
  managed.set(manager, new Set(wanted.keys()));
  return { object: treeOf(next), conflicts: [] };
}

/** By path; path parts are separated by NUL, keyed list items are `[key=value]`. Identity fields are nobody's. */
function leavesOf(object: Tree): Map<string, Json> {
  const leaves = new Map<string, Json>();
  const visit = (value: Json, path: readonly string[]): void => {
    const field = path.at(-1) ?? "";
    const keys = LIST_KEYS[field];
    if (Array.isArray(value) && keys !== undefined) {
      for (const item of value as readonly Tree[])
        visit(item, [...path, `[${keys.map((key) => `${key}=${JSON.stringify(item[key])}`).join(",")}]`]);
    } else if (
      typeof value === "object" &&
      value !== null &&
      !Array.isArray(value) &&
      Object.keys(value).length > 0
    ) {
      for (const [key, item] of Object.entries(value)) visit(item, [...path, key]);
    } else {
      leaves.set(path.join("\0"), value);
    }
  };
  visit(object, []);
  for (const path of leaves.keys()) {
    if (["apiVersion", "kind", "metadata\0name", "metadata\0namespace"].includes(path)) leaves.delete(path);
  }
  return leaves;
}

function treeOf(leaves: ReadonlyMap<string, Json>): Tree {
  const root: Tree = {};
  for (const [path, value] of leaves) put(root, path.split("\0"), value);
  return arrays(root) as Tree;
}

function put(tree: Tree, [head = "", ...rest]: readonly string[], value: Json): void {
  if (rest.length === 0) {
    tree[head] = value;
    return;
  }
  const next = (tree[head] ??= {}) as Tree;
  put(next, rest, value);
}

/** Objects whose keys are list items become lists again. */
function arrays(value: Json): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).map(([key, item]) => [key, arrays(item)] as const);
  if (entries.length > 0 && entries.every(([key]) => key.startsWith("[")))
    return entries.map(([, item]) => item);
  return Object.fromEntries(entries);
}
