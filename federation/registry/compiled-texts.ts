import type { ClusterState } from "./state.ts";

/** What one change of a thousand clusters leaves behind until their members have asked; they share most of it. */
const MAX_CHARACTERS = 128 * 1024 * 1024;

/**
 * What was compiled to see whether a cluster's snapshot changed, kept until it is signed or the next change comes:
 * compiling it again would double what a change costs. Whoever finds nothing here compiles. In pieces, which
 * the snapshots of a change have in common for the most part: as texts, the collector would move a hundred megabytes about.
 */
export class CompiledTexts {
  readonly #texts = new Map<ClusterState, readonly string[]>();
  readonly #maxCharacters: number;
  #characters = 0;

  constructor(maxCharacters = MAX_CHARACTERS) {
    this.#maxCharacters = maxCharacters;
  }

  keep(cluster: ClusterState, pieces: readonly string[]): void {
    this.take(cluster);
    this.#texts.set(cluster, pieces);
    this.#characters += lengthOf(pieces);
    for (const oldest of this.#texts.keys()) {
      if (this.#characters <= this.#maxCharacters) break;
      this.take(oldest);
    }
  }

  clear(): void {
    this.#texts.clear();
    this.#characters = 0;
  }

  /** It is needed once. */
  take(cluster: ClusterState): readonly string[] | undefined {
    const pieces = this.#texts.get(cluster);
    if (pieces === undefined) return undefined;
    this.#texts.delete(cluster);
    this.#characters -= lengthOf(pieces);
    return pieces;
  }
}

function lengthOf(pieces: readonly string[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}
