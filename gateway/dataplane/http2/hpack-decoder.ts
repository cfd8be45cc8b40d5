import { isLegalName, isLegalValue } from "./field-octets.ts";
import { DEFAULT_TABLE_BYTES } from "./frame.ts";
import {
  DynamicTable,
  ENTRY_OVERHEAD_BYTES,
  STATIC_ENTRIES,
  STATIC_TABLE,
  type TableEntry,
} from "./hpack-table.ts";
import { decodeHuffman } from "./huffman.ts";
import { keepFields } from "./kept-fields.ts";

export interface HeaderLimits {
  /** Sum over the fields of name, value and 32 octets, as SETTINGS_MAX_HEADER_LIST_SIZE counts (RFC 9113 §6.5.2). */
  readonly listBytes: number;
  readonly fields: number;
}

const STATIC: readonly TableEntry[] = STATIC_TABLE.map(([name, value]) => ({ name, value, isLegal: true }));

/** A decoded block, and what was found out about its message. */
export interface FieldBlock {
  /** Name, value, name, value, … */
  readonly fields: string[];
  /** It had a field that HTTP forbids: its message is malformed. */
  isIllegal: boolean;
  /** It exceeded the limits; `fields` is not all of it. */
  isTooLarge: boolean;
  /** Of whoever reads the message, who finds it here when the block comes again. */
  contentLength?: number;
  isRequest?: boolean;
  isResponse?: boolean;
  isTrailers?: boolean;
}

/**
 * A block whose octets mean the same when they come again: at any time if it refers to nothing in the dynamic table, else while
 * the table is as it was. What it adds to the table it adds every time, as encoders without memory do (nginx).
 */
interface Remembered {
  readonly octets: Buffer;
  /** Of the table; `undefined`: of no matter. */
  readonly generation: number | undefined;
  readonly added: readonly TableEntry[];
  readonly block: FieldBlock;
  isRepeated: boolean;
}

const NONE_ADDED: TableEntry[] = [];

// Peers repeat a few heads all the time, each of some dozen octets once names and values stand in the table.
const MAX_REMEMBERED_BYTES = 256;

// Each with two places: a head and the trailers that follow it may fall into one set, and would drive each other out.
const SETS = 8;

/**
 * HPACK decoding (RFC 7541) of one direction of a connection. A list beyond the limits is still decoded to its end, since the
 * dynamic table must stay in step, but nothing of it is kept.
 */
export class HpackDecoder {
  /** The last block. */
  block: FieldBlock = { fields: [], isIllegal: false, isTooLarge: false };
  /** Of each set the block that came last, in the second half the one before. */
  readonly #remembered: (Remembered | undefined)[] = Array.from({ length: 2 * SETS });
  readonly #limits: HeaderLimits;
  readonly #table = new DynamicTable(DEFAULT_TABLE_BYTES);
  readonly #maxTableBytes: number;
  #buffer: Buffer = EMPTY;
  #at = 0;
  #end = 0;
  #listBytes = 0;
  /** Of the block at hand. */
  #added: TableEntry[] = NONE_ADDED;
  #isResized = false;
  #refersToTable = false;
  #ok = true;

  constructor(limits: HeaderLimits, maxTableBytes: number = DEFAULT_TABLE_BYTES) {
    this.#limits = limits;
    this.#maxTableBytes = maxTableBytes;
  }

  /** Decodes a whole header block; `false` for a COMPRESSION_ERROR, after which the connection is lost. */
  decode(buffer: Buffer, start: number, end: number): boolean {
    const set = setOf(buffer, start, end);
    const known = set < 0 ? undefined : this.#recall(set, buffer, start, end);
    if (known !== undefined && this.#stillHolds(known)) {
      for (const entry of known.added) this.#table.add(entry);
      if (!known.isRepeated) keepFields(known.block.fields);
      known.isRepeated = true;
      this.block = known.block;
      return true;
    }
    this.#added = NONE_ADDED;
    this.#isResized = false;
    this.#refersToTable = false;
    if (!this.#decode(buffer, start, end)) return false;
    if (set >= 0) this.#remember(set, buffer, start, end);
    return true;
  }

  #recall(set: number, buffer: Buffer, start: number, end: number): Remembered | undefined {
    const last = this.#remembered[set];
    if (last === undefined || isSame(last, buffer, start, end)) return last;
    const before = this.#remembered[set + SETS];
    if (before === undefined || !isSame(before, buffer, start, end)) return undefined;
    this.#remembered[set] = before;
    this.#remembered[set + SETS] = last;
    return before;
  }

  #stillHolds({ generation }: Remembered): boolean {
    return generation === undefined || generation === this.#table.generation;
  }

  #remember(set: number, buffer: Buffer, start: number, end: number): void {
    const added = this.#added;
    if (this.#isResized || (this.#refersToTable && added.length > 0)) return;
    const generation = this.#refersToTable ? this.#table.generation : undefined;
    const octets = Buffer.from(buffer.subarray(start, end));
    const last = this.#remembered[set];
    // One that no longer holds is replaced where it stands.
    if (last !== undefined && !isSame(last, buffer, start, end)) this.#remembered[set + SETS] = last;
    this.#remembered[set] = { octets, generation, added, block: this.block, isRepeated: false };
  }

  #decode(buffer: Buffer, start: number, end: number): boolean {
    this.block = { fields: [], isIllegal: false, isTooLarge: false };
    this.#listBytes = 0;
    this.#buffer = buffer;
    this.#at = start;
    this.#end = end;
    this.#ok = true;
    let mayResize = true;
    while (this.#ok && this.#at < this.#end) {
      const octet = buffer[this.#at] ?? 0;
      if ((octet & 0xe0) === 0x20) {
        if (!mayResize) return false; // only ahead of the first field (RFC 7541 §4.2)
        this.#resize();
        continue;
      }
      mayResize = false;
      if ((octet & 0x80) !== 0) this.#indexed();
      else if ((octet & 0xc0) === 0x40) this.#literal(6, true);
      else this.#literal(4, false);
    }
    this.#buffer = EMPTY;
    return this.#ok;
  }

  #resize(): void {
    const bytes = this.#integer(5);
    this.#isResized = true;
    if (bytes > this.#maxTableBytes) this.#ok = false;
    else this.#table.resize(bytes);
  }

  #indexed(): void {
    const entry = this.#entry(this.#integer(7));
    if (entry === undefined) this.#ok = false;
    else this.#add(entry);
  }

  #literal(prefixBits: number, keep: boolean): void {
    const index = this.#integer(prefixBits);
    const named = index === 0 ? undefined : this.#entry(index);
    if (index !== 0 && named === undefined) this.#ok = false;
    const name = named === undefined ? this.#string() : named.name;
    const value = this.#string();
    if (!this.#ok) return;
    const nameIsLegal = named === undefined ? isLegalName(name) : named.isLegal || isLegalName(name);
    const entry = { name, value, isLegal: nameIsLegal && isLegalValue(name, value) };
    if (keep) {
      this.#table.add(entry);
      if (this.#added === NONE_ADDED) this.#added = [];
      this.#added.push(entry);
    }
    this.#add(entry);
  }

  #entry(index: number): TableEntry | undefined {
    if (index <= STATIC_ENTRIES) return STATIC[index - 1];
    this.#refersToTable = true;
    return this.#table.at(index - STATIC_ENTRIES - 1);
  }

  #add(entry: TableEntry): void {
    const { block } = this;
    if (!entry.isLegal) block.isIllegal = true;
    this.#listBytes += entry.name.length + entry.value.length + ENTRY_OVERHEAD_BYTES;
    const { fields } = block;
    if (this.#listBytes > this.#limits.listBytes || fields.length >= 2 * this.#limits.fields)
      block.isTooLarge = true;
    else fields.push(entry.name, entry.value);
  }

  /** An integer with a prefix of so many bits (RFC 7541 §5.1); more than 2^28 is no size that anything here has. */
  #integer(prefixBits: number): number {
    const mask = (1 << prefixBits) - 1;
    let value = (this.#buffer[this.#at] ?? 0) & mask;
    if (this.#at >= this.#end) this.#ok = false;
    this.#at += 1;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= this.#end) break;
      const octet = this.#buffer[this.#at] ?? 0;
      this.#at += 1;
      value += (octet & 0x7f) << shift;
      if ((octet & 0x80) === 0) return value;
    }
    this.#ok = false;
    return 0;
  }

  #string(): string {
    if (!this.#ok || this.#at >= this.#end) {
      this.#ok = false;
      return "";
    }
    const isCoded = ((this.#buffer[this.#at] ?? 0) & 0x80) !== 0;
    const length = this.#integer(7);
    const start = this.#at;
    const end = start + length;
    if (!this.#ok || end > this.#end) {
      this.#ok = false;
      return "";
    }
    this.#at = end;
    if (!isCoded) return this.#buffer.toString("latin1", start, end);
    const target = scratch(Math.ceil((length * 8) / 5));
    const decoded = decodeHuffman(this.#buffer, start, end, target);
    if (decoded < 0) this.#ok = false;
    return decoded < 0 ? "" : target.toString("latin1", 0, decoded);
  }
}

/** The set in which a block would be remembered; -1: none. */
function setOf(buffer: Buffer, start: number, end: number): number {
  const length = end - start;
  if (length <= 0 || length > MAX_REMEMBERED_BYTES) return -1;
  const middle = buffer[start + (length >>> 1)] ?? 0;
  return (31 * length + 7 * (buffer[start] ?? 0) + 3 * middle + (buffer[end - 1] ?? 0)) % SETS;
}

function isSame({ octets }: Remembered, buffer: Buffer, start: number, end: number): boolean {
  const { length } = octets;
  if (length !== end - start) return false;
  for (let at = 0; at < length; at++) if (octets[at] !== buffer[start + at]) return false;
  return true;
}

const EMPTY = Buffer.alloc(0);

let shared = Buffer.allocUnsafeSlow(4_096);

/** A buffer that is free again as soon as its content was read. */
function scratch(bytes: number): Buffer {
  if (bytes <= shared.length) return shared;
  // A block is bounded, so this is too; a single long one does not stay.
  if (bytes > 65_536) return Buffer.allocUnsafeSlow(bytes);
  shared = Buffer.allocUnsafeSlow(bytes);
  return shared;
}
