import { namedBy } from "./links.ts";
import type { ClusterState, FederationState } from "./state.ts";

/**
 * Which clusters export something to a given one. Asking every cluster for each snapshot would make the cost of one
 * grow with the federation. The index follows the state: comparing a thousand maps by identity takes microseconds, and
 * only those that are others than before are read again. It is a memory of pure facts: whatever state it is asked
 * about, the answer is that state's.
 */
export class OfferIndex {
  #clusters: FederationState["clusters"] | undefined;
  readonly #exports = new Map<string, ClusterState["exports"]>();
  readonly #exporters = new Map<string, Set<string>>();

  /** Names of clusters with an export that names `consumer`. */
  exportersNaming(state: FederationState, consumer: string): Iterable<string> {
    if (state.clusters !== this.#clusters) this.#follow(state.clusters);
    return this.#exporters.get(consumer) ?? [];
  }

  #follow(clusters: FederationState["clusters"]): void {
    for (const name of this.#exports.keys()) if (!clusters.has(name)) this.#replace(name, undefined);
    for (const [name, { exports }] of clusters)
      if (this.#exports.get(name) !== exports) this.#replace(name, exports);
    this.#clusters = clusters;
  }

  #replace(name: string, exports: ClusterState["exports"] | undefined): void {
    const before = this.#exports.get(name);
    if (before !== undefined)
      for (const consumer of namedBy(before)) {
        const exporters = this.#exporters.get(consumer);
        exporters?.delete(name);
        if (exporters?.size === 0) this.#exporters.delete(consumer);
      }
    if (exports === undefined) {
      this.#exports.delete(name);
      return;
    }
    this.#exports.set(name, exports);
    for (const consumer of namedBy(exports)) {
      const exporters = this.#exporters.get(consumer);
      if (exporters === undefined) this.#exporters.set(consumer, new Set([name]));
      else exporters.add(name);
    }
  }
}
