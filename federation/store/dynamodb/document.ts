import { createHash } from "node:crypto";
import { gunzipSync, gzipSync } from "node:zlib";
import type { AttributeValue } from "@aws-sdk/client-dynamodb";

export type Row = Record<string, AttributeValue>;

/** An item has at most 400 KB, names of its attributes included. */
const PART_BYTES = 350_000;
/** Checkpoints are large and read seldom: a third of the time for a tenth more. */
const COMPRESSION = 3;
/** As much as workerd unpacks at once. */
const MAX_DOCUMENT_BYTES = 128 * 1024 * 1024;

/** What was read is not what was written: a part is missing, foreign or changed. */
export class DamagedDocument extends Error {}

/** A value as rows under one `pk`, however large; `sk` is followed by the number of the part. */
export function toRows(pk: string, sk: string, value: unknown, extra: Row = {}): readonly Row[] {
  const bytes = gzipSync(JSON.stringify(value), { level: COMPRESSION });
  const sum = sumOf(bytes);
  const parts = Math.max(1, Math.ceil(bytes.length / PART_BYTES));
  return Array.from({ length: parts }, (_, part) => ({
    ...extra,
    pk: { S: pk },
    sk: { S: partKey(sk, part) },
    parts: { N: String(parts) },
    sum: { S: sum },
    body: { B: bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES) },
  }));
}

export function partKey(sk: string, part: number): string {
  return `${sk}#${String(part).padStart(4, "0")}`;
}

/** Every key of a document sorts behind its own name and before this. */
export function behindParts(sk: string): string {
  return `${sk}$`;
}

/** Sort key of the document that a row is a part of. */
export function documentSk(row: Row): string {
  return (row["sk"]?.S ?? "").replace(/#\d{4}$/, "");
}

/** The value whole, or `DamagedDocument`; rows in the order of their parts. Its shape is our own writing's. */
export function fromRows<T>(rows: readonly Row[]): T {
  const [first] = rows;
  const name = first === undefined ? "a document" : `${first["pk"]?.S ?? ""} ${documentSk(first)}`;
  const whole = rows.length > 0 && rows.every((row, part) => isPart(row, part, rows.length));
  if (!whole) throw new DamagedDocument(`${name} lacks a part`);
  const bytes = Buffer.concat(rows.map((row) => row["body"]?.B ?? new Uint8Array()));
  if (sumOf(bytes) !== first?.["sum"]?.S) throw new DamagedDocument(`${name} does not match its checksum`);
  return JSON.parse(gunzipSync(bytes, { maxOutputLength: MAX_DOCUMENT_BYTES }).toString("utf8")) as T;
}

function isPart(row: Row, part: number, parts: number): boolean {
  return row["parts"]?.N === String(parts) && (row["sk"]?.S ?? "").endsWith(partKey("", part));
}

/** Rows of several documents in key order, taken apart. */
export function documentsOf(rows: readonly Row[]): readonly (readonly Row[])[] {
  const documents: Row[][] = [];
  let current: Row[] = [];
  let sk: string | undefined;
  for (const row of rows) {
    const name = documentSk(row);
    if (name !== sk) {
      current = [];
      documents.push(current);
      sk = name;
    }
    current.push(row);
  }
  return documents;
}

export function bytesOf(rows: readonly Row[]): number {
  return rows.reduce((sum, row) => sum + (row["body"]?.B?.length ?? 0), 0);
}

function sumOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("base64");
}
