import type { SnapshotContent } from "./compile-snapshot.ts";

/**
 * A snapshot's content as JSON, the same text that `JSON.stringify` makes. Most of it are bundles, peers and offers, which
 * many snapshots hold alike: `compileSnapshot` puts the same object into each, and each such object is written once.
 */
export function snapshotText(content: SnapshotContent): string {
  const members = Object.entries(content).map(([name, value]: readonly [string, unknown]) => {
    const text = SHARED.has(name) && Array.isArray(value) ? listText(value) : JSON.stringify(value);
    return `${JSON.stringify(name)}:${text}`;
  });
  return `{${members.join(",")}}`;
}

const SHARED: ReadonlySet<string> = new Set<keyof SnapshotContent>(["bundles", "peers", "offers"]);
const TEXTS = new WeakMap<object, string>();

function listText(list: readonly object[]): string {
  return `[${list.map(objectText).join(",")}]`;
}

function objectText(value: object): string {
  const known = TEXTS.get(value);
  if (known !== undefined) return known;
  const text = JSON.stringify(value);
  TEXTS.set(value, text);
  return text;
}
