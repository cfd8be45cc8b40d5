/** Enough that a change copies a few hundred entries of a hundred thousand. */
const SHARDS = 512;
const EMPTY: ReadonlyMap<string, string> = new Map();

/**
 * When each name was first used, as an immutable value that grows cheaply: adding a name copies the one shard that it
 * falls into, and not all names that there ever were.
 */
export class SeenNames {
  static readonly none = new SeenNames(Array.from({ length: SHARDS }, () => EMPTY));

  /** Not `#`: comparing two states must see it. */
  private readonly shards: readonly ReadonlyMap<string, string>[];

  private constructor(shards: readonly ReadonlyMap<string, string>[]) {
    this.shards = shards;
  }

  static from(entries: Iterable<readonly [key: string, time: string]>): SeenNames {
    return SeenNames.none.with(entries);
  }

  get(key: string): string | undefined {
    return this.shards[shardOf(key)]?.get(key);
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** With those that are new; a name that is known keeps its first time. */
  with(entries: Iterable<readonly [key: string, time: string]>): SeenNames {
    const shards = [...this.shards];
    const owned = new Set<number>();
    for (const [key, time] of entries) {
      const index = shardOf(key);
      if (shards[index]?.has(key) === true) continue;
      if (!owned.has(index)) {
        shards[index] = new Map(shards[index]);
        owned.add(index);
      }
      (shards[index] as Map<string, string>).set(key, time);
    }
    return owned.size === 0 ? this : new SeenNames(shards);
  }

  *entries(): Generator<readonly [key: string, time: string]> {
    for (const shard of this.shards) yield* shard;
  }
}

function shardOf(key: string): number {
  let hash = 0;
  for (let index = 0; index < key.length; index++) hash = (Math.imul(hash, 31) + key.charCodeAt(index)) | 0;
  return (hash >>> 0) % SHARDS;
}
