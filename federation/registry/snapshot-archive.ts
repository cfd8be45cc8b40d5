/**
 * Signed snapshots of earlier and current revisions, as the bytes that were sent. Deltas are made against them; what is
 * not found is compiled, or sent whole: nothing but time depends on it, and it never fails.
 */
export interface SnapshotArchive {
  find(cluster: string, revision: number): Promise<string | undefined>;
  save(cluster: string, revision: number, jws: string): Promise<void>;
}

/** A thousand clusters' snapshots of a hundred kilobytes, the newest and the one before; one byte each. */
const MAX_CHARACTERS = 256 * 1024 * 1024;

/** What was asked for last, in this process. In front of another one, it asks that for what it has not. */
export class MemoryArchive implements SnapshotArchive {
  readonly #behind: SnapshotArchive | undefined;
  readonly #maxCharacters: number;
  readonly #texts = new Map<string, string>();
  #characters = 0;

  constructor(behind?: SnapshotArchive, maxCharacters = MAX_CHARACTERS) {
    this.#behind = behind;
    this.#maxCharacters = maxCharacters;
  }

  async find(cluster: string, revision: number): Promise<string | undefined> {
    const key = `${cluster}/${revision}`;
    const known = this.#texts.get(key);
    if (known !== undefined) {
      // The order of insertion is the order of use.
      this.#texts.delete(key);
      this.#texts.set(key, known);
      return known;
    }
    const found = await this.#behind?.find(cluster, revision);
    if (found !== undefined) this.#keep(key, found);
    return found;
  }

  async save(cluster: string, revision: number, jws: string): Promise<void> {
    this.#keep(`${cluster}/${revision}`, jws);
    await this.#behind?.save(cluster, revision, jws);
  }

  #keep(key: string, jws: string): void {
    this.#characters += jws.length - (this.#texts.get(key)?.length ?? 0);
    this.#texts.set(key, jws);
    for (const [oldest, text] of this.#texts) {
      if (this.#characters <= this.#maxCharacters) break;
      this.#texts.delete(oldest);
      this.#characters -= text.length;
    }
  }
}
