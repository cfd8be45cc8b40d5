/**
 * The two parts of chunked coding that carry text: extensions and trailers. Both are rare, so they are collected first and
 * judged whole.
 */
import { err, ok, type Result } from "../../../federation/model/result.ts";
import { ORDINARY } from "./field-kinds.ts";
import { FieldTable } from "./field-table.ts";

export interface ChunkedLimits {
  /** All extensions of one body together: nobody reads them, so they may not cost more than a line or two. */
  readonly extensionBytes: number;
  readonly trailerBytes: number;
  readonly trailerFields: number;
}

export const DEFAULT_CHUNKED_LIMITS: ChunkedLimits = Object.freeze({
  extensionBytes: 4096,
  trailerBytes: 8192,
  trailerFields: 100,
});

const TOKEN = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const QUOTED = '"(?:[\\t !#-\\[\\]-~\\x80-\\xff]|\\\\[\\t -~\\x80-\\xff])*"';
const EXTENSIONS = new RegExp(`^(?:;${TOKEN}(?:=(?:${TOKEN}|${QUOTED}))?)+$`);

/** Whether `text`, from its first semicolon up to its CRLF, is a list of chunk extensions without white space between. */
export function areExtensions(text: string): boolean {
  return EXTENSIONS.test(text);
}

// Fields that steer how a message is framed, routed, authenticated or decoded have no say once it was processed
// (RFC 9110, 6.5.1). The rest of what is never carried is known to `fieldKind`.
const NOT_IN_TRAILERS: ReadonlySet<string> = new Set([
  "age",
  "authorization",
  "cache-control",
  "content-encoding",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "expires",
  "forwarded",
  "location",
  "max-forwards",
  "pragma",
  "range",
  "retry-after",
  "set-cookie",
  "trailer",
  "vary",
  "www-authenticate",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]);

const table = new FieldTable();

/** The lines of a complete trailer section that may be passed on; the section itself must be well-formed throughout. */
export function readTrailers(section: string, limits: ChunkedLimits): Result<string> {
  const buffer = Buffer.from(section, "latin1");
  const next = table.scan(buffer, 0, buffer.length, limits.trailerFields);
  if (next !== buffer.length) return err(table.detail === "" ? "too many trailer fields" : table.detail);
  table.attach(section, 0);
  let kept = "";
  for (let row = 0; row < table.count; row++) {
    if (table.kind(row) !== ORDINARY || NOT_IN_TRAILERS.has(table.name(row).toLowerCase())) continue;
    kept += table.slice(table.lineStart(row), table.lineEnd(row));
  }
  return ok(kept);
}
