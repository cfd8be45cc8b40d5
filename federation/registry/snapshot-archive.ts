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
 * What was asked for last, in this process. In front of another one, it asks that for what it has not. As bytes outside of
 * the heap, which the collector need not move about.
 */
export class MemoryArchive implements SnapshotArchive {
  readonly #behind: SnapshotArchive | undefined;
  readonly #maxBytes: number;
  readonly #texts = new Map<string, Buffer>();
  #bytes = 0;

  constructor(behind?: SnapshotArchive, maxBytes = MAX_BYTES) {
    this.#behind = behind;
    this.#maxBytes = maxBytes;
  }

  async find(cluster: string, revision: number): Promise<string | undefined> {
    const key = `${cluster}/${revision}`;
    const known = this.#texts.get(key);
    if (known !== undefined) {
      // The order of insertion is the order of use.
      this.#texts.delete(key);
      this.#texts.set(key, known);
      return known.toString("latin1");
    }
    const found = await this.#behind?.find(cluster, revision);
    if (found !== undefined) this.#keep(key, found);
    return found;
  }

  async save(cluster: string, revision: number, jws: string): Promise<void> {
    this.#keep(`${cluster}/${revision}`, jws);
    await this.#behind?.save(cluster, revision, jws);
  }

  /** A compact JWS is ASCII. */
  #keep(key: string, jws: string): void {
    this.#bytes += jws.length - (this.#texts.get(key)?.length ?? 0);
    this.#texts.set(key, Buffer.from(jws, "latin1"));
    for (const [oldest, text] of this.#texts) {
      if (this.#bytes <= this.#maxBytes) break;
      this.#texts.delete(oldest);
      this.#bytes -= text.length;
    }
  }
}
