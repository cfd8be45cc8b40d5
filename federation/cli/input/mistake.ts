import type { Issue } from "../../model/problem.ts";
import { fail, renderIssue } from "../failure.ts";

/** One complaint about one place in a file. */
export interface Mistake extends Issue {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** `federation.yaml:7:5 spec.clusters[0].nmae unknown field (did you mean "name"?)` */
export function renderMistake(mistake: Mistake): string {
  return `${mistake.file}:${mistake.line}:${mistake.column} ${renderIssue(mistake)}`;
}

export function inOrder(mistakes: readonly Mistake[]): readonly Mistake[] {
  return mistakes.toSorted((a, b) => a.line - b.line || a.column - b.column);
}

/** The one failure that stands for all mistakes of a file. */
export function failWithMistakes(file: string, mistakes: readonly Mistake[]) {
  const count = mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`;
  return fail("file_invalid", `${count} in ${file}; nothing was changed`, {
    lines: inOrder(mistakes).map(renderMistake),
  });
}
