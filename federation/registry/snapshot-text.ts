import type { SnapshotImport } from "../model/snapshot.ts";
import type { SnapshotContent } from "./compile-snapshot.ts";

/**
 * A snapshot's content as JSON, in pieces that make the same text as `JSON.stringify`. Most of it are bundles, peers and
 * offers, which many snapshots hold alike: `compileSnapshot` puts the same object into each, and each such object is
 * written once. A thousand snapshots in pieces take little more than what they do not have in common.
 */
export function snapshotPieces(content: SnapshotContent): readonly string[] {
  const pieces: string[] = [];
  let before = "{";
  for (const [name, value] of Object.entries(content) as readonly (readonly [string, unknown])[]) {
    const label = `${before}${JSON.stringify(name)}:`;
    before = ",";
    if (SHARED.has(name) && Array.isArray(value)) pushList(pieces, label, value);
    else pieces.push(label + (name === "imports" ? importsText(content.imports) : JSON.stringify(value)));
  }
  pieces.push("}");
  return pieces;
}

const SHARED: ReadonlySet<string> = new Set<keyof SnapshotContent>(["bundles", "peers", "offers"]);

function pushList(pieces: string[], label: string, list: readonly object[]): void {
  pieces.push(label, "[");
  for (const [index, one] of list.entries()) {
    if (index > 0) pieces.push(",");
    pieces.push(textOf(one));
  }
  pieces.push("]");
}

/** What an import says of its source are the same objects for all who import it; its local name is each cluster's own. */
function importsText(imports: readonly SnapshotImport[]): string {
  return `[${imports.map(importText).join(",")}]`;
}

function importText(imported: SnapshotImport): string {
  let text = "";
  for (const [member, value] of Object.entries(imported) as readonly (readonly [string, string | object])[]) {
    const valueText = typeof value === "string" ? JSON.stringify(value) : textOf(value);
    text += `${text === "" ? "{" : ","}"${member}":${valueText}`;
  }
  return `${text}}`;
}

const TEXTS = new WeakMap<object, string>();

function textOf(value: object): string {
  const known = TEXTS.get(value);
  if (known !== undefined) return known;
  const text = JSON.stringify(value);
  TEXTS.set(value, text);
  return text;
}
