const GAP = "   ";

/** Left-aligned columns under upper-case heads; nothing follows a row's last cell, so that copies paste cleanly. */
export function renderTable(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = heads.map((head, column) =>
    Math.max(width(head), ...rows.map((row) => width(row[column] ?? ""))),
  );
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, column) => cell + " ".repeat(Math.max(0, (widths[column] ?? 0) - width(cell))))
      .join(GAP)
      .trimEnd();
  return [line(heads), ...rows.map(line)].join("\n");
}

const ESCAPES = /\u001b\[[0-9;]*m/g;

/** Columns a text takes on a terminal; colours take none. */
function width(text: string): number {
  return [...text.replace(ESCAPES, "")].length;
}
