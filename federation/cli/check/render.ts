import type { Paint, Style } from "../output/paint.ts";
import { type CheckResult, type CheckStatus, verdict } from "./result.ts";

const MARKS: { readonly [S in CheckStatus]: { readonly mark: string; readonly style: Style } } = {
  ok: { mark: "✓", style: "green" },
  warning: { mark: "‼", style: "yellow" },
  failed: { mark: "×", style: "red" },
  skipped: { mark: "–", style: "dim" },
};

const VERDICTS = {
  ok: "✓ all is well",
  warning: "‼ it works, with warnings",
  failed: "× not all is well",
} as const;

/** Categories with a line for each check; below a bad one its code and the fix. */
export function renderChecks(results: readonly CheckResult[], paint: Paint): string {
  const categories = [...new Set(results.map(({ category }) => category))];
  const parts = categories.map((category) => {
    const own = results.filter((result) => result.category === category);
    return [paint("bold", category), ...own.flatMap((result) => renderResult(result, paint))].join("\n");
  });
  return [...parts, renderVerdict(results, paint)].join("\n\n");
}

/** Only what is not well, and the verdict. */
export function renderShort(results: readonly CheckResult[], paint: Paint): string {
  const bad = results.filter(({ status }) => status === "failed" || status === "warning");
  const lines = bad.flatMap((result) =>
    renderResult({ ...result, name: `${result.category}: ${result.name}` }, paint),
  );
  return [...lines, renderVerdict(results, paint)].join("\n");
}

function renderResult({ name, status, detail, code, fix }: CheckResult, paint: Paint): readonly string[] {
  const { mark, style } = MARKS[status];
  const found = detail === undefined ? "" : `${status === "ok" ? " — " : ": "}${detail}`;
  const named = code === undefined || status === "ok" ? "" : ` [${code}]`;
  const line = `${paint(style, mark)} ${name}${status === "skipped" ? ` (skipped${found})` : `${found}${named}`}`;
  return fix === undefined || status === "ok" ? [line] : [line, `    ${paint("dim", "fix:")} ${fix}`];
}

function renderVerdict(results: readonly CheckResult[], paint: Paint): string {
  const found = verdict(results);
  const count = (status: CheckStatus): number => results.filter((result) => result.status === status).length;
  const counts = (["ok", "warning", "failed", "skipped"] as const)
    .filter((status) => count(status) > 0)
    .map((status) => `${count(status)} ${status}`);
  return `${paint(MARKS[found].style, VERDICTS[found])} (${counts.join(", ")})`;
}
