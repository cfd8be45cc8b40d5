import type { Chain } from "./chain.ts";
import type { Section } from "./options.ts";
import type { Bar, Row } from "./summary.ts";

export interface Memory {
  readonly chain: string;
  readonly rssMiB: readonly number[];
}

export interface Report {
  readonly machine: readonly string[];
  readonly chains: readonly Chain[];
  readonly skipped: readonly { readonly id: string; readonly reason: string }[];
  readonly rows: readonly Row[];
  readonly memory: readonly Memory[];
  readonly bars: readonly Bar[];
  readonly rounds: number;
}

/** Below this share of its core a chain was waiting for wrk, the backend or another process of the machine. */
const SATURATED = 0.85;

const DISTURBED = 0.05;

export function table(lines: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const line of lines) {
    for (const [index, cell] of line.entries()) widths[index] = Math.max(widths[index] ?? 0, cell.length);
  }
  return lines
    .map((line) => line.map((cell, index) => pad(cell, widths[index] ?? 0, index === 0)).join("  "))
    .map((line) => `  ${line.trimEnd()}\n`)
    .join("");
}

function pad(cell: string, width: number, left: boolean): string {
  return left ? cell.padEnd(width) : cell.padStart(width);
}

const number = (value: number, digits: number): string =>
  Number.isFinite(value) ? value.toFixed(digits) : "-";
const ratioText = (row: Row): string => (row.ratio === undefined ? "" : `${row.ratio.toFixed(2)}x`);

export function render(report: Report): string {
  const parts = [
    `${report.machine.join("\n")}\n`,
    ...report.skipped.map(({ id, reason }) => `skipped ${id}: ${reason}\n`),
    requestsTable(report),
    hopsTable(report),
    section(report, "http2", "HTTP/2, 64 requests at a time on 8 connections, 100-byte answers", http2Cells),
    section(
      report,
      "grpc",
      "gRPC unary (messages of 100 octets, trailers), 64 calls at a time on 8 connections",
      http2Cells,
    ),
    section(
      report,
      "paced",
      "Latency when all carry the same load, 64 connections: a little under half of what nginx carries with as many hops",
      latencyCells,
    ),
    section(report, "bulk", "1 MiB bodies, 8 connections: CPU ms per MiB over all hops", bulkCells),
    section(report, "connections", "A new connection for every request, 64 at a time", connectionCells),
    memoryTable(report),
    barsTable(report),
    notes(report),
  ];
  return parts.filter((part) => part !== "").join("\n");
}

function rowsOf(report: Report, name: Section): Row[] {
  return report.rows.filter((row) => row.section === name);
}

function label(report: Report, id: string): string {
  return report.chains.find((chain) => chain.id === id)?.label ?? id;
}

function requestsTable(report: Report): string {
  const rows = rowsOf(report, "requests");
  if (rows.length === 0) return "";
  const counts = [...new Set(rows.map((row) => row.connections))];
  const lines = [...new Set(rows.map((row) => row.chain))].map((chain) => [
    label(report, chain),
    ...counts.flatMap((connections) => {
      const row = rows.find(
        (candidate) => candidate.chain === chain && candidate.connections === connections,
      );
      return row === undefined
        ? ["-", "", ""]
        : [number(row.cost, 1), ratioText(row), `${number(row.p50Ms, 2)}/${number(row.p99Ms, 2)}`];
    }),
  ]);
  const head = ["", ...counts.flatMap((connections) => [`${connections} conns`, "nginx", "p50/p99 ms"])];
  const title = `CPU µs per request over all hops, 100-byte answers; ratio to nginx with as many hops; latency at saturation`;
  return `${title} (median of ${report.rounds})\n${table([head, ...lines])}`;
}

function hopsTable(report: Report): string {
  const rows = rowsOf(report, "requests").filter((row) => row.connections === 64);
  if (rows.length === 0) return "";
  const lines = rows.map((row) => [
    label(report, row.chain),
    row.hopCosts.map((value) => number(value, 1)).join(" + "),
    `${number(row.perSecond, 0)}/s`,
    `${number(row.busy * 100, 0)} %`,
    `${number(row.asideBusy * 100, 1)} %`,
  ]);
  const head = ["", "µs by hop", "requests", "of its core", "not counted"];
  return `By hop at 64 connections\n${table([head, ...lines])}`;
}

interface Cells {
  readonly head: readonly string[];
  readonly of: (row: Row) => readonly string[];
}

const latencyCells: Cells = {
  head: ["requests", "p50 ms", "p99 ms", "CPU µs", "nginx"],
  of: (row) => [
    `${number(row.perSecond, 0)}/s`,
    number(row.p50Ms, 2),
    number(row.p99Ms, 2),
    number(row.cost, 1),
    ratioText(row),
  ],
};
const http2Cells: Cells = {
  head: ["CPU µs", "nginx", "HAProxy", "by hop", "requests"],
  of: (row) => [
    number(row.cost, 1),
    ratioText(row),
    row.haproxyRatio === undefined ? "" : `${row.haproxyRatio.toFixed(2)}x`,
    row.hopCosts.map((value) => number(value, 1)).join(" + "),
    `${number(row.perSecond, 0)}/s`,
  ],
};
const bulkCells: Cells = {
  head: ["ms/MiB", "nginx", "MiB/s"],
  of: (row) => [number(row.cost, 2), ratioText(row), number(row.perSecond, 0)],
};
const connectionCells: Cells = {
  head: ["connections", "CPU µs", "nginx", "p50 ms", "p99 ms"],
  of: (row) => [
    `${number(row.perSecond, 0)}/s`,
    number(row.cost, 0),
    ratioText(row),
    number(row.p50Ms, 2),
    number(row.p99Ms, 2),
  ],
};

function section(report: Report, name: Section, title: string, cells: Cells): string {
  const rows = rowsOf(report, name);
  if (rows.length === 0) return "";
  return `${title}\n${table([["", ...cells.head], ...rows.map((row) => [label(report, row.chain), ...cells.of(row)])])}`;
}

function memoryTable(report: Report): string {
  if (report.memory.length === 0) return "";
  const lines = report.memory.map(({ chain, rssMiB }) => [
    label(report, chain),
    rssMiB.map((value) => number(value, 0)).join(" + "),
  ]);
  return `RSS by hop at the end, MiB\n${table(lines)}`;
}

function barsTable(report: Report): string {
  const lines = report.bars.map((bar) => [
    bar.name,
    bar.ratio === undefined ? "-" : `${bar.ratio.toFixed(2)}x`,
    `${bar.bound} ${bar.limit}x`,
    bar.verdict,
  ]);
  return `Bars: Isthmus against nginx with as many hops\n${table(lines)}`;
}

function notes(report: Report): string {
  const failed = report.rows.filter((row) => row.errors > 0);
  const waiting = report.rows.filter((row) => row.section === "requests" && row.busy < SATURATED);
  const disturbed = report.rows.filter((row) => row.otherBusy > DISTURBED);
  const name = (row: Row): string => `${row.chain} at ${row.connections} (${row.section})`;
  return [
    failed.length === 0
      ? ""
      : `Failed requests: ${failed.map((row) => `${name(row)} ${row.errors}`).join(", ")}\n`,
    waiting.length === 0
      ? ""
      : `Core not saturated (wrk, the backend or other work was the limit): ${waiting
          .map((row) => `${row.chain} at ${row.connections} ${number(row.busy * 100, 0)} %`)
          .join(", ")}\n`,
    disturbed.length === 0
      ? ""
      : `Disturbed: other work took more than ${DISTURBED * 100} % of the proxies' core in ${disturbed.length} of ${report.rows.length} rows, at worst ${number(
          Math.max(...disturbed.map((row) => row.otherBusy)) * 100,
          0,
        )} %. Run on an idle machine for figures to quote.\n`,
  ].join("");
}
