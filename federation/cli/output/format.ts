import { API_VERSION } from "../../model/resource.ts";
import { yaml } from "../yaml.ts";
import { renderTable } from "./table.ts";

export const FORMATS = ["table", "wide", "json", "yaml", "name"] as const;
export type Format = (typeof FORMATS)[number];

export interface Column<T> {
  readonly head: string;
  readonly cell: (item: T) => string;
  /** Shown by `-o wide` only. */
  readonly wide?: true;
}

/** A list of things and every way to show it. */
export interface Listing<T> {
  /** Of one item: `Cluster`; the list is a `ClusterList`. */
  readonly kind: string;
  readonly items: readonly T[];
  readonly columns: readonly Column<T>[];
  /** `cluster/east`: what other commands take as an argument. */
  readonly name: (item: T) => string;
}

/** The text for stdout; empty for a list without items under `-o name`. */
export function renderListing<T>(format: Format, listing: Listing<T>): string {
  const { kind, items, columns, name } = listing;
  switch (format) {
    case "name":
      return items.map(name).join("\n");
    case "json":
    case "yaml":
      return renderData(format, { apiVersion: API_VERSION, kind: `${kind}List`, items });
    case "table":
    case "wide": {
      const shown = columns.filter((column) => format === "wide" || column.wide !== true);
      return renderTable(
        shown.map((column) => column.head),
        items.map((item) => shown.map((column) => column.cell(item))),
      );
    }
  }
}

export function renderData(format: "json" | "yaml", value: object): string {
  return format === "json" ? JSON.stringify(value, null, 2) : yaml().stringify(value).trimEnd();
}

export function isData(format: Format): format is "json" | "yaml" {
  return format === "json" || format === "yaml";
}
