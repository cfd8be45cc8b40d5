import type { ClusterState } from "./state.ts";

/** What one change of seven hundred clusters leaves behind until their members have asked. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * What was compiled to see whether a cluster's snapshot changed, kept until it is signed or the next change comes:
 * compiling it again would double what a change costs. Whoever finds nothing here compiles. As bytes outside of the heap:
 * as strings, the collector would move a hundred megabytes about.
 */
export class CompiledTexts {
  readonly #texts = new Map<ClusterState, Buffer>();
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes;
  }

  keep(cluster: ClusterState, text: Buffer): void {
    this.take(cluster);
    this.#texts.set(cluster, text);
    this.#bytes += text.length;
    for (const oldest of this.#texts.keys()) {
      if (this.#bytes <= this.#maxBytes) break;
      this.take(oldest);
    }
  }

  clear(): void {
    this.#texts.clear();
    this.#bytes = 0;
  }

  /** It is needed once. */
  take(cluster: ClusterState): Buffer | undefined {
    const text = this.#texts.get(cluster);
    if (text === undefined) return undefined;
    this.#texts.delete(cluster);
    this.#bytes -= text.length;
    return text;
  }
}
