import { joinJws, type JwsParts, splitJws } from "../trust/index.ts";

/**
 * Signed snapshots of earlier and current revisions, as the bytes that were sent. Deltas are made against them; what is
 * not found is compiled, or sent whole: nothing but time depends on it, and it never fails.
 */
export interface SnapshotArchive {
  find(cluster: string, revision: number): Promise<string | undefined>;
  save(cluster: string, revision: number, jws: string): Promise<void>;
}

/** A thousand clusters' snapshots of a hundred kilobytes, the newest and the one before. */
const MAX_BYTES = 256 * 1024 * 1024;

/**
 * What was asked for last, in this process. In front of another one, it asks that for what it has not. Payloads as bytes
 * outside of the heap, which the collector need not move about, and as what they say: deltas are made of that.
 */
export class MemoryArchive {
  readonly #behind: SnapshotArchive | undefined;
  readonly #maxBytes: number;
  readonly #kept = new Map<string, JwsParts>();
  #bytes = 0;

  constructor(behind?: SnapshotArchive, maxBytes = MAX_BYTES) {
    this.#behind = behind;
    this.#maxBytes = maxBytes;
  }

  async find(cluster: string, revision: number): Promise<JwsParts | undefined> {
    const key = `${cluster}/${revision}`;
    const known = this.#kept.get(key);
    if (known !== undefined) {
      // The order of insertion is the order of use.
      this.#kept.delete(key);
      this.#kept.set(key, known);
      return known;
    }
    const found = await this.#behind?.find(cluster, revision);
    if (found === undefined) return undefined;
    const jws = splitJws(found);
    this.#keep(key, jws);
    return jws;
  }

  async save(cluster: string, revision: number, jws: JwsParts): Promise<void> {
    this.#keep(`${cluster}/${revision}`, jws);
    await this.#behind?.save(cluster, revision, joinJws(jws));
  }

  #keep(key: string, jws: JwsParts): void {
    this.#bytes += jws.payload.length - (this.#kept.get(key)?.payload.length ?? 0);
    this.#kept.set(key, jws);
    for (const [oldest, { payload }] of this.#kept) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#kept.delete(oldest);
      this.#bytes -= payload.length;
    }
  }
}
