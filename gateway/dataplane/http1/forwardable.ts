import type { ConnectionOptions } from "./connection-options.ts";
import { CONNECTION, bit, DROPPED, ORDINARY, TE, UPGRADE } from "./field-kinds.ts";
import type { FieldTable } from "./field-table.ts";

const ALWAYS_LEFT_OUT = bit(CONNECTION) | bit(UPGRADE) | bit(DROPPED);

/**
 * The attached head as it goes on to the next hop: without what belongs to this hop, what claims an identity, and the
 * kinds in `without` (a bit each). Runs of kept lines are sliced out together; a head with nothing to remove is returned as
 * it came.
 */
export function forwardableLines(table: FieldTable, without: number, options: ConnectionOptions): string {
  const left = ALWAYS_LEFT_OUT | without;
  if ((table.seen & (left | bit(TE))) === 0) return table.text;
  let kept = "";
  let runStart = table.base;
  for (let row = 0; row < table.count; row++) {
    if (!isLeftOut(table, row, left, options)) continue;
    kept += table.slice(runStart, table.lineStart(row));
    runStart = table.lineEnd(row);
  }
  return kept + table.slice(runStart, table.end);
}

function isLeftOut(table: FieldTable, row: number, left: number, options: ConnectionOptions): boolean {
  const kind = table.kind(row);
  if ((left & bit(kind)) !== 0) return true;
  // That trailers are welcome holds for the next hop as well, since they are forwarded.
  if (kind === TE) return table.value(row).toLowerCase() !== "trailers";
  return (
    options.named.length > 0 && kind === ORDINARY && options.named.includes(table.name(row).toLowerCase())
  );
}
