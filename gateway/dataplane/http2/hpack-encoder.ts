import { DEFAULT_TABLE_BYTES } from "./frame.ts";
import { DynamicTable, entryBytes, STATIC_ENTRIES, STATIC_TABLE, type TableEntry } from "./hpack-table.ts";
import { isKept } from "./kept-fields.ts";

/**
 * HPACK encoding (RFC 7541) of one direction of a connection. Fields go into the dynamic table unless their values change with
 * every message; strings are written as they are: Huffman coding saves bytes on a link where a request has hundreds of them,
 * and costs more time than the table saves.
 */
export class HpackEncoder {
  readonly #table: DynamicTable;
  /** Absolute number of the newest entry with this name and value; the newest entry of all has `#added - 1`. */
  readonly #known = new Map<string, Map<string, number>>();
  #added = 0;
  /** Size updates that the next block must begin with: the smallest since the last block, and the last (RFC 7541 §4.2). */
  #smallest: number | undefined;
  #buffer: Buffer = Buffer.allocUnsafeSlow(1_024);
  #length = 0;
  /** Blocks of lists that come again, good while the table is as it was. */
  #blocks: WeakMap<readonly string[], EncodedBlock> | undefined;

  constructor() {
    this.#table = new DynamicTable(DEFAULT_TABLE_BYTES, (entry) => this.#forget(entry));
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. A larger table than the default is not made use of. */
  setMaxTableBytes(bytes: number): void {
    const wanted = Math.min(bytes, DEFAULT_TABLE_BYTES);
    if (wanted === this.#table.maxBytes) return;
    this.#table.resize(wanted);
    this.#smallest = Math.min(wanted, this.#smallest ?? wanted);
  }

  /** Encodes one block. The answer is valid until the next call. */
  encode(fields: readonly string[]): Buffer {
    const known = this.#blocks?.get(fields);
    const { generation } = this.#table;
    if (known?.generation === generation && this.#smallest === undefined) return known.octets;
    const block = this.#encode(fields);
    if (generation === this.#table.generation && isKept(fields)) {
      this.#blocks ??= new WeakMap();
      this.#blocks.set(fields, { octets: Buffer.from(block), generation });
    }
    return block;
  }

  #encode(fields: readonly string[]): Buffer {
    this.#length = 0;
    if (this.#smallest !== undefined) this.#announce(this.#smallest);
    for (let at = 0; at + 1 < fields.length; at += 2) this.#field(fields[at] ?? "", fields[at + 1] ?? "");
    return this.#buffer.subarray(0, this.#length);
  }

  #announce(smallest: number): void {
    this.#smallest = undefined;
    this.#room(16);
    const { maxBytes } = this.#table;
    if (smallest < maxBytes) this.#integer(0x20, 5, smallest);
    this.#integer(0x20, 5, maxBytes);
  }

  #field(name: string, value: string): void {
    this.#room(16 + name.length + value.length);
    const fixed = STATIC_NAMES.get(name);
    const whole = fixed?.values.get(value) ?? this.#dynamicIndex(name, value);
    if (whole !== undefined) return this.#integer(0x80, 7, whole);
    const kind = LITERAL.get(name) ?? INDEXED;
    const isKept = kind === INDEXED && entryBytes(name, value) <= this.#table.maxBytes / 2;
    if (isKept) this.#integer(0x40, 6, fixed?.index ?? 0);
    else this.#integer(kind === NEVER_INDEXED ? 0x10 : 0, 4, fixed?.index ?? 0);
    if (fixed === undefined) this.#string(name);
    this.#string(value);
    if (isKept) this.#remember(name, value);
  }

  #dynamicIndex(name: string, value: string): number | undefined {
    const number = this.#known.get(name)?.get(value);
    return number === undefined ? undefined : STATIC_ENTRIES + this.#added - number;
  }

  #remember(name: string, value: string): void {
    this.#table.add({ name, value, isLegal: true });
    let values = this.#known.get(name);
    if (values === undefined) this.#known.set(name, (values = new Map<string, number>()));
    values.set(value, this.#added);
    this.#added += 1;
  }

  #forget({ name, value }: TableEntry): void {
    const values = this.#known.get(name);
    values?.delete(value);
    if (values?.size === 0) this.#known.delete(name);
  }

  #integer(pattern: number, prefixBits: number, value: number): void {
    const mask = (1 << prefixBits) - 1;
    if (value < mask) {
      this.#buffer[this.#length++] = pattern | value;
      return;
    }
    this.#buffer[this.#length++] = pattern | mask;
    let rest = value - mask;
    for (; rest > 0x7f; rest >>>= 7) this.#buffer[this.#length++] = 0x80 | (rest & 0x7f);
    this.#buffer[this.#length++] = rest;
  }

  #string(text: string): void {
    this.#integer(0, 7, text.length);
    this.#length += this.#buffer.write(text, this.#length, "latin1");
  }

  #room(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * (this.#length + bytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

interface EncodedBlock {
  readonly octets: Buffer;
  readonly generation: number;
}

const INDEXED = 0;
const PLAIN = 1;
const NEVER_INDEXED = 2;

/** Names whose values seldom come again, and those whose values no later hop may put into a table (RFC 7541 §7.1.3). */
const LITERAL: ReadonlyMap<string, number> = new Map([
  ...[
    ":path",
    "age",
    "content-length",
    "content-range",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-timeout",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "last-modified",
    "location",
    "range",
    "referer",
    "traceparent",
    "tracestate",
    "x-request-id",
  ].map((name) => [name, PLAIN] as const),
  ...["authorization", "cookie", "proxy-authorization", "set-cookie"].map(
    (name) => [name, NEVER_INDEXED] as const,
  ),
]);

interface StaticName {
  /** Of the first entry with this name. */
  readonly index: number;
  readonly values: ReadonlyMap<string, number>;
}

const STATIC_NAMES: ReadonlyMap<string, StaticName> = staticNames();

function staticNames(): ReadonlyMap<string, StaticName> {
  const names = new Map<string, { readonly index: number; readonly values: Map<string, number> }>();
  for (const [at, [name, value]] of STATIC_TABLE.entries()) {
    const known = names.get(name) ?? { index: at + 1, values: new Map<string, number>() };
    known.values.set(value, at + 1);
    names.set(name, known);
  }
  return names;
}
