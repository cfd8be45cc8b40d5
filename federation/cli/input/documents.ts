import type { Document } from "yaml";
import type { Issue } from "../../model/problem.ts";
import { yaml } from "../yaml.ts";
import type { Mistake } from "./mistake.ts";

/** One object of a multi-document file, and where each of its fields stands. */
export interface SourceObject {
  readonly file: string;
  readonly value: unknown;
  /** Turns a complaint about a field into one about a place in the file. */
  readonly mistake: (issue: Issue) => Mistake;
}

export interface Parsed {
  readonly objects: readonly SourceObject[];
  readonly mistakes: readonly Mistake[];
}

/** Reads YAML or JSON. A document with a syntax error yields its mistakes; the others are still read, so that all mistakes show at once. */
export function parseDocuments(file: string, text: string): Parsed {
  const { LineCounter, parseAllDocuments } = yaml();
  const lines = new LineCounter();
  const objects: SourceObject[] = [];
  const mistakes: Mistake[] = [];
  const at = (offset: number, issue: Issue): Mistake => {
    const { line, col } = lines.linePos(offset);
    return { file, line: Math.max(1, line), column: Math.max(1, col), ...issue };
  };
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  for (const document of "empty" in documents ? [] : documents) {
    mistakes.push(...document.errors.map((error) => at(error.pos[0], { path: "", message: error.message })));
    if (document.errors.length > 0 || isEmpty(document)) continue;
    const value = toPlain(document);
    if (value === undefined) {
      mistakes.push(at(document.range[0], { path: "", message: "too many aliases" }));
      continue;
    }
    objects.push(...expandList(value, (issue) => at(locate(document, issue.path), issue), file));
  }
  return { objects, mistakes };
}

function isEmpty(document: Document.Parsed): boolean {
  return (
    document.contents === null || (yaml().isScalar(document.contents) && document.contents.value === null)
  );
}

function toPlain(document: Document.Parsed): unknown {
  try {
    // The library counts alias expansions and throws: a small file may not become a huge object.
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    return undefined;
  }
}

/** `isthmus get -o yaml` prints a list; what it prints can be applied again. */
function expandList(value: unknown, mistake: SourceObject["mistake"], file: string): readonly SourceObject[] {
  if (!isRecord(value)) return [{ file, value, mistake }];
  const items = value["items"];
  if (typeof value["kind"] !== "string" || !value["kind"].endsWith("List") || !Array.isArray(items)) {
    return [{ file, value, mistake }];
  }
  return items.map((item: unknown, index) => ({
    file,
    value: item,
    mistake: (issue) =>
      mistake({ ...issue, path: `items[${index}]${issue.path === "" ? "" : `.${issue.path}`}` }),
  }));
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const STEP = /\[([0-9]+)\]|\["((?:[^"\\]|\\.)*)"\]|\.?([^.[\]]+)/g;

/** Offset of the field's key; of the nearest parent that is there, if the field is missing. */
function locate(document: Document.Parsed, path: string): number {
  const { isMap, isScalar, isSeq } = yaml();
  let node: unknown = document.contents;
  let offset = document.contents?.range?.[0] ?? document.range[0];
  for (const match of path.matchAll(STEP)) {
    const key = match[2] ?? match[3] ?? "";
    if (match[1] !== undefined && isSeq(node)) {
      node = node.items[Number(match[1])];
    } else if (isMap(node)) {
      const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
      if (pair === undefined) return offset;
      if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
      continue;
    } else return offset;
    if (hasRange(node)) offset = node.range[0];
  }
  return offset;
}

function hasRange(node: unknown): node is { readonly range: readonly [number, number, number] } {
  return isRecord(node) && Array.isArray(node["range"]);
}
