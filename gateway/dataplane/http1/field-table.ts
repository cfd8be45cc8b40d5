import { COLON, CR, FIELD_VALUE, HTAB, LF, SP, TOKEN } from "./octets.ts";
import { type FieldKind, fieldKind, ORDINARY } from "./field-kinds.ts";
import { type HeadLimits, type HeadOutcome, headTooLarge, invalid, NEED_MORE, octetName } from "./outcome.ts";

const ROW = 5;

/** What `scan` answers when it did not reach the end of the head; `unfinished` turns it into an outcome. */
const SCAN_NEEDS_MORE = -1;
const SCAN_MALFORMED = -2;
const SCAN_TOO_MANY = -3;

/**
 * Where the fields of one head lie in its buffer: five offsets per field in one typed array, and per kind whether it was
 * seen, seen twice, and in which row. A table is filled and read within one synchronous parse and then filled again, so
 * that a head costs no allocation per field.
 */
export class FieldTable {
  count = 0;
  /** Bit per kind: it occurs. */
  seen = 0;
  /** Bit per kind: it occurs more than once. */
  repeated = 0;
  /** Why `scan` answered SCAN_MALFORMED. */
  detail = "";
  /** The scanned head, once attached. */
  text = "";
  /** Where `text` begins in the buffer, and where it ends. */
  base = 0;
  end = 0;
  #rows = new Int32Array(32 * ROW);
  readonly #lastRow = new Int32Array(32);

  lineStart(row: number): number {
    return this.#rows[row * ROW] as number;
  }
  nameEnd(row: number): number {
    return this.#rows[row * ROW + 1] as number;
  }
  valueStart(row: number): number {
    return this.#rows[row * ROW + 2] as number;
  }
  valueEnd(row: number): number {
    return this.#rows[row * ROW + 3] as number;
  }
  kind(row: number): FieldKind {
    return this.#rows[row * ROW + 4] as number;
  }
  /** The offset behind the line's CRLF. */
  lineEnd(row: number): number {
    return row + 1 < this.count ? this.lineStart(row + 1) : this.end;
  }
  /** Lower-cased only by its readers: most values are never looked at. */
  value(row: number): string {
    return this.text.slice(this.valueStart(row) - this.base, this.valueEnd(row) - this.base);
  }
  name(row: number): string {
    return this.text.slice(this.lineStart(row) - this.base, this.nameEnd(row) - this.base);
  }
  /** All values of this kind, joined as one list. */
  values(kind: FieldKind): string {
    let joined = "";
    for (let row = 0; row < this.count; row++) {
      if (this.kind(row) === kind) joined += joined === "" ? this.value(row) : `, ${this.value(row)}`;
    }
    return joined;
  }
  /** The text between two offsets of the buffer. */
  slice(start: number, end: number): string {
    return this.text.slice(start - this.base, end - this.base);
  }
  has(kind: FieldKind): boolean {
    return (this.seen & (1 << kind)) !== 0;
  }
  isRepeated(kind: FieldKind): boolean {
    return (this.repeated & (1 << kind)) !== 0;
  }
  /** The last row of this kind; ask `has` first. */
  rowOf(kind: FieldKind): number {
    return this.#lastRow[kind] as number;
  }

  /**
   * The scanned head as text, its first byte at offset `base` of the buffer. One call into native code decodes it; every
   * string of the head is then a slice of it.
   */
  attach(text: string, base: number): void {
    this.text = text;
    this.base = base;
  }

  /** Reads field lines from `start` up to and including the empty line, never beyond `end`. */
  scan(buffer: Buffer, start: number, end: number, maxFields: number): number {
    this.count = 0;
    this.detail = "";
    this.seen = 0;
    this.repeated = 0;
    let at = start;
    for (;;) {
      if (at >= end) return SCAN_NEEDS_MORE;
      if (buffer[at] === CR) {
        if (at + 1 >= end) return SCAN_NEEDS_MORE;
        if (buffer[at + 1] !== LF) return this.#malformed("a bare CR", start, at);
        this.end = at;
        return at + 2;
      }
      if (this.count >= maxFields) return SCAN_TOO_MANY;
      at = this.#scanLine(buffer, at, end);
      if (at < 0) return at;
    }
  }

  /** One field line; answers the offset behind its CRLF. An obs-fold ends here too: a name cannot begin with a space. */
  #scanLine(buffer: Buffer, lineStart: number, end: number): number {
    let at = lineStart;
    while (at < end && TOKEN[buffer[at] as number] === 1) at++;
    if (at >= end) return SCAN_NEEDS_MORE;
    const nameEnd = at;
    if (buffer[at] !== COLON || at === lineStart) return this.#badName(buffer, lineStart, at);
    at++;
    while (at < end && (buffer[at] === SP || buffer[at] === HTAB)) at++;
    const valueStart = at;
    while (at < end && FIELD_VALUE[buffer[at] as number] === 1) at++;
    if (at >= end) return SCAN_NEEDS_MORE;
    if (buffer[at] !== CR) return this.#malformed(octetName(buffer[at] as number), lineStart, at);
    if (at + 1 >= end) return SCAN_NEEDS_MORE;
    if (buffer[at + 1] !== LF) return this.#malformed("a bare CR", lineStart, at);
    let valueEnd = at;
    while (valueEnd > valueStart && (buffer[valueEnd - 1] === SP || buffer[valueEnd - 1] === HTAB))
      valueEnd--;
    this.#add(lineStart, nameEnd, valueStart, valueEnd, fieldKind(buffer, lineStart, nameEnd));
    return at + 2;
  }

  #add(lineStart: number, nameEnd: number, valueStart: number, valueEnd: number, kind: FieldKind): void {
    const row = this.count++;
    const base = row * ROW;
    if (base === this.#rows.length) this.#grow();
    const rows = this.#rows;
    rows[base] = lineStart;
    rows[base + 1] = nameEnd;
    rows[base + 2] = valueStart;
    rows[base + 3] = valueEnd;
    rows[base + 4] = kind;
    if (kind === ORDINARY) return;
    const bit = 1 << kind;
    this.repeated |= this.seen & bit;
    this.seen |= bit;
    this.#lastRow[kind] = row;
  }

  /** What a head parser answers to a negative `scan`. A head that fills its limit will not become complete. */
  unfinished(scanned: number, isFull: boolean, limits: HeadLimits): HeadOutcome<never> {
    if (scanned === SCAN_MALFORMED) return invalid("http_malformed", this.detail);
    return scanned === SCAN_TOO_MANY || isFull ? headTooLarge(limits) : NEED_MORE;
  }

  #grow(): void {
    const rows = new Int32Array(this.#rows.length * 2);
    rows.set(this.#rows);
    this.#rows = rows;
  }

  #badName(buffer: Buffer, lineStart: number, at: number): number {
    const octet = buffer[at] as number;
    if (octet === COLON) return this.#malformed("an empty field name", lineStart, at);
    if (octet === SP || octet === HTAB) {
      const what = at === lineStart ? "a folded line" : "white space before the colon";
      return this.#malformed(what, lineStart, at);
    }
    return this.#malformed(`${octetName(octet)} in a field name`, lineStart, at);
  }

  #malformed(what: string, lineStart: number, at: number): number {
    this.detail = `${what} at offset ${at - lineStart} of field line ${this.count + 1}`;
    return SCAN_MALFORMED;
  }
}
