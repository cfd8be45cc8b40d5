/** The static table (RFC 7541, Appendix A): entry i stands at i - 1. */
// biome-ignore format: a table
export const STATIC_TABLE: readonly (readonly [name: string, value: string])[] = [
  [":authority", ""], [":method", "GET"], [":method", "POST"], [":path", "/"], [":path", "/index.html"],
  [":scheme", "http"], [":scheme", "https"], [":status", "200"], [":status", "204"], [":status", "206"],
  [":status", "304"], [":status", "400"], [":status", "404"], [":status", "500"], ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"], ["accept-language", ""], ["accept-ranges", ""], ["accept", ""],
  ["access-control-allow-origin", ""], ["age", ""], ["allow", ""], ["authorization", ""], ["cache-control", ""],
  ["content-disposition", ""], ["content-encoding", ""], ["content-language", ""], ["content-length", ""],
  ["content-location", ""], ["content-range", ""], ["content-type", ""], ["cookie", ""], ["date", ""], ["etag", ""],
  ["expect", ""], ["expires", ""], ["from", ""], ["host", ""], ["if-match", ""], ["if-modified-since", ""],
  ["if-none-match", ""], ["if-range", ""], ["if-unmodified-since", ""], ["last-modified", ""], ["link", ""],
  ["location", ""], ["max-forwards", ""], ["proxy-authenticate", ""], ["proxy-authorization", ""], ["range", ""],
  ["referer", ""], ["refresh", ""], ["retry-after", ""], ["server", ""], ["set-cookie", ""],
  ["strict-transport-security", ""], ["transfer-encoding", ""], ["user-agent", ""], ["vary", ""], ["via", ""],
  ["www-authenticate", ""],
];

export const STATIC_ENTRIES = 61;

/** What an entry counts for beyond its octets (RFC 7541 §4.1). */
export const ENTRY_OVERHEAD_BYTES = 32;

/** One field of a dynamic table. */
export interface TableEntry {
  readonly name: string;
  readonly value: string;
  /** Its octets are legal in HTTP (RFC 9113 §8.2.1), found out once. */
  readonly isLegal: boolean;
}

export function entryBytes(name: string, value: string): number {
  return name.length + value.length + ENTRY_OVERHEAD_BYTES;
}

/** The dynamic table (RFC 7541 §2.3.2): newest entry first, the oldest evicted when the size is exceeded. */
export class DynamicTable {
  /** A ring, as long as it has needed to be: nginx adds the same few entries with every answer. */
  #ring: (TableEntry | undefined)[] = Array.from({ length: MIN_SLOTS });
  /** Slot of the newest entry. */
  #newest = 0;
  #length = 0;
  #bytes = 0;
  #generation = 0;
  #maxBytes: number;
  readonly #onEvict: ((entry: TableEntry) => void) | undefined;

  constructor(maxBytes: number, onEvict?: (entry: TableEntry) => void) {
    this.#maxBytes = maxBytes;
    this.#onEvict = onEvict;
  }

  get length(): number {
    return this.#length;
  }

  /** Another one after each change: until then the same octets stand for the same fields. */
  get generation(): number {
    return this.#generation;
  }

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** `position` 0 is the newest entry. */
  at(position: number): TableEntry | undefined {
    return position < this.#length ? this.#ring[this.#slot(position)] : undefined;
  }

  add(entry: TableEntry): void {
    this.#generation += 1;
    const bytes = entryBytes(entry.name, entry.value);
    this.#evictTo(this.#maxBytes - bytes);
    // An entry larger than the table empties it (RFC 7541 §4.4).
    if (bytes > this.#maxBytes) return;
    if (this.#length === this.#ring.length) this.#grow();
    this.#newest = (this.#newest + 1) & (this.#ring.length - 1);
    this.#ring[this.#newest] = entry;
    this.#length += 1;
    this.#bytes += bytes;
  }

  resize(maxBytes: number): void {
    this.#generation += 1;
    this.#maxBytes = maxBytes;
    this.#evictTo(maxBytes);
  }

  #slot(position: number): number {
    return (this.#newest - position) & (this.#ring.length - 1);
  }

  #evictTo(limit: number): void {
    while (this.#bytes > limit && this.#length > 0) {
      const slot = this.#slot(this.#length - 1);
      const entry = this.#ring[slot];
      this.#ring[slot] = undefined;
      this.#length -= 1;
      if (entry === undefined) continue;
      this.#bytes -= entryBytes(entry.name, entry.value);
      this.#onEvict?.(entry);
    }
  }

  #grow(): void {
    const kept = Array.from({ length: this.#length }, (_, at) => this.at(this.#length - 1 - at));
    this.#ring = [...kept, ...Array.from({ length: this.#length }, () => undefined)];
    this.#newest = this.#length - 1;
  }
}

// A power of two. Entries take 32 octets and more, so that a table of 4,096 octets needs 128 slots at most.
const MIN_SLOTS = 16;
