import type { Stream } from "./stream.ts";

const MIN_BUCKETS = 16;

/**
 * The open streams of a connection by their identifiers. Not a `Map`: each time V8 rebuilds the table of one, the old table keeps
 * a pointer to the new, so that from the first table that grew old on, all of them and every stream in them outlive each
 * scavenge until the whole heap is marked; that was half of what a request cost.
 */
export class StreamTable {
  #buckets: (Stream | undefined)[] = emptyBuckets(MIN_BUCKETS);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(id: number): Stream | undefined {
    let stream = this.#buckets[this.#bucketOf(id)];
    while (stream !== undefined && stream.id !== id) stream = stream.nextInTable;
    return stream;
  }

  /** Identifiers are never used again, so nothing is replaced. */
  add(stream: Stream): void {
    if (this.#size >= 2 * this.#buckets.length) this.#grow();
    this.#put(stream);
    this.#size += 1;
  }

  delete(stream: Stream): void {
    const bucket = this.#bucketOf(stream.id);
    let before: Stream | undefined;
    let at = this.#buckets[bucket];
    while (at !== undefined && at !== stream) {
      before = at;
      at = at.nextInTable;
    }
    if (at === undefined) return;
    if (before === undefined) this.#buckets[bucket] = stream.nextInTable;
    else before.nextInTable = stream.nextInTable;
    stream.nextInTable = undefined;
    this.#size -= 1;
  }

  /** All that are open now, in the order in which they were opened; whoever goes through them may close them. */
  all(): readonly Stream[] {
    const all: Stream[] = [];
    for (let stream of this.#buckets) {
      for (; stream !== undefined; stream = stream.nextInTable) all.push(stream);
    }
    return all.sort((one, other) => one.id - other.id);
  }

  /** Those that one side opens are all odd or all even. */
  #bucketOf(id: number): number {
    return (id >>> 1) & (this.#buckets.length - 1);
  }

  #put(stream: Stream): void {
    const bucket = this.#bucketOf(stream.id);
    stream.nextInTable = this.#buckets[bucket];
    this.#buckets[bucket] = stream;
  }

  #grow(): void {
    const all = this.all();
    this.#buckets = emptyBuckets(2 * this.#buckets.length);
    for (const stream of all) this.#put(stream);
  }
}

function emptyBuckets(count: number): (Stream | undefined)[] {
  return Array.from({ length: count });
}
