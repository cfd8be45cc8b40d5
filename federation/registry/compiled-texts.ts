import type { ClusterState } from "./state.ts";

/** What one change of seven hundred clusters leaves behind until their members have asked; one byte each. */
const MAX_CHARACTERS = 64 * 1024 * 1024;

/**
 * What was compiled to see whether a cluster's snapshot changed, kept until it is signed or the next change comes:
 * compiling it again would double what a change costs. Whoever finds nothing here compiles.
 */
export class CompiledTexts {
  readonly #texts = new Map<ClusterState, string>();
  readonly #maxCharacters: number;
  #characters = 0;

  constructor(maxCharacters = MAX_CHARACTERS) {
    this.#maxCharacters = maxCharacters;
  }

  keep(cluster: ClusterState, text: string): void {
    this.take(cluster);
    this.#texts.set(cluster, text);
    this.#characters += text.length;
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
  take(cluster: ClusterState): string | undefined {
    const text = this.#texts.get(cluster);
    if (text === undefined) return undefined;
    this.#texts.delete(cluster);
    this.#characters -= text.length;
    return text;
  }
}
