import { isMap, isNode, isPair, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import type { Issue } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";

export interface LocatedIssue extends Issue {
  /** 1-based. */
  readonly line: number;
}

// A document that repeats an anchor more often than this is not written by a person.
const MAX_ALIASES = 100;

/** Parses and decodes one YAML document; every mistake comes with its line. */
export function decodeYaml<T>(
  text: string,
  decode: (value: unknown) => Result<T, readonly Issue[]>,
): Result<T, readonly LocatedIssue[]> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    return err(
      document.errors.map(({ pos, message }) => ({ path: "", message, line: lines.linePos(pos[0]).line })),
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: MAX_ALIASES });
  } catch (error) {
    return err([{ path: "", message: error instanceof Error ? error.message : String(error), line: 1 }]);
  }
  const decoded = decode(value);
  if (decoded.ok) return ok(decoded.value);
  return err(
    decoded.error.map((issue) => ({
      ...issue,
      line: lines.linePos(offsetOf(document.contents, issue.path)).line || 1,
    })),
  );
}

/** Where the deepest existing node of `path` begins; of a field, its name: that is what a reader looks for. */
function offsetOf(root: Node | null, path: string): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const part of pathParts(path)) {
    const [at, next] = step(node, part);
    if (at === undefined) break;
    offset = at;
    node = next;
  }
  return offset;
}

function step(node: unknown, part: string | number): readonly [number | undefined, unknown] {
  if (isSeq(node) && typeof part === "number") {
    const item = node.items[part];
    return [isNode(item) ? item.range?.[0] : undefined, item];
  }
  if (!isMap(node)) return [undefined, undefined];
  const pair = node.items.find(
    (item) => isPair(item) && isScalar(item.key) && String(item.key.value) === String(part),
  );
  return pair === undefined
    ? [undefined, undefined]
    : [isNode(pair.key) ? pair.key.range?.[0] : undefined, pair.value];
}

const PART = /\.?([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]/g;

function pathParts(path: string): (string | number)[] {
  return [...path.matchAll(PART)].map(([, name, index, quoted]) =>
    index === undefined ? (name ?? quoted ?? "") : Number(index),
  );
}
