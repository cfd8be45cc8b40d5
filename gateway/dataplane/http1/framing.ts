import { bit, CONTENT_LENGTH, TRANSFER_ENCODING } from "./field-kinds.ts";
import type { FieldTable } from "./field-table.ts";
import { DIGIT, ZERO } from "./octets.ts";

/** How many bytes belong to the message after its head (RFC 9112, 6.3). `until-close` occurs in responses only. */
export type BodyFraming =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" }
  | { readonly kind: "until-close" };

export const NO_BODY: BodyFraming = Object.freeze({ kind: "none" });
export const CHUNKED: BodyFraming = Object.freeze({ kind: "chunked" });
export const UNTIL_CLOSE: BodyFraming = Object.freeze({ kind: "until-close" });

/** Both framing fields, as a set of kinds. */
export const FRAMING_FIELDS = bit(CONTENT_LENGTH) | bit(TRANSFER_ENCODING);

// 15 decimal digits stay below 2^53, so the arithmetic on lengths is exact.
const MAX_LENGTH_DIGITS = 15;

/**
 * What the framing fields say; `undefined` when they are absent, a string when they contradict each other or are not
 * what RFC 9112 allows. Nothing is repaired: two readings of one length are how requests are smuggled.
 */
export function readFraming(table: FieldTable, minor: number): BodyFraming | undefined | string {
  const hasLength = table.has(CONTENT_LENGTH);
  if (table.has(TRANSFER_ENCODING)) {
    if (hasLength) return "Content-Length and Transfer-Encoding together";
    if (table.isRepeated(TRANSFER_ENCODING)) return "more than one Transfer-Encoding";
    if (minor === 0) return "Transfer-Encoding in HTTP/1.0";
    if (hasTabs(table, table.rowOf(TRANSFER_ENCODING))) return TABS;
    return isChunked(table) ? CHUNKED : "a Transfer-Encoding other than chunked";
  }
  if (!hasLength) return undefined;
  if (table.isRepeated(CONTENT_LENGTH)) return "more than one Content-Length";
  const row = table.rowOf(CONTENT_LENGTH);
  if (hasTabs(table, row)) return TABS;
  const length = readLength(table.value(row));
  if (length < 0) return "a Content-Length that is not a plain decimal number";
  return length === 0 ? NO_BODY : { kind: "length", length };
}

const TABS = "a tab around the value of a framing field";

/** Lawful white space, but llhttp for one reads `chunked<tab>` as another coding: where readers differ, we do not guess. */
function hasTabs(table: FieldTable, row: number): boolean {
  return table.slice(table.nameEnd(row), table.lineEnd(row)).includes("\t");
}

function readLength(digits: string): number {
  const end = digits.length;
  if (end === 0) return -1;
  let at = 0;
  while (at < end - 1 && digits.charCodeAt(at) === ZERO) at++;
  if (end - at > MAX_LENGTH_DIGITS) return -1;
  let length = 0;
  for (; at < end; at++) {
    const octet = digits.charCodeAt(at);
    if (DIGIT[octet] !== 1) return -1;
    length = length * 10 + (octet - ZERO);
  }
  return length;
}

function isChunked(table: FieldTable): boolean {
  return table.value(table.rowOf(TRANSFER_ENCODING)).toLowerCase() === "chunked";
}

/**
 * Whether the one framing field is spelled as we would spell it. Leading zeros, odd case and odd white space are
 * lawful, but the next reader may be less exact than we are, so such a line is written anew.
 */
export function isCanonicalFraming(table: FieldTable): boolean {
  const row = table.rowOf(table.has(TRANSFER_ENCODING) ? TRANSFER_ENCODING : CONTENT_LENGTH);
  const end = table.valueEnd(row);
  if (table.lineEnd(row) !== end + 2 || table.valueStart(row) !== table.nameEnd(row) + 2) return false;
  const value = table.slice(table.nameEnd(row), end);
  if (table.kind(row) === TRANSFER_ENCODING) return value === ": chunked";
  return value.startsWith(": ") && (value.length === 3 || value.charCodeAt(2) !== ZERO);
}

export function canonicalFraming(body: BodyFraming): string {
  switch (body.kind) {
    case "none":
      return "content-length: 0\r\n";
    case "length":
      return `content-length: ${body.length}\r\n`;
    case "chunked":
      return "transfer-encoding: chunked\r\n";
    case "until-close":
      return "";
  }
}
