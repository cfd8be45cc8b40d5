import type { KubeSlice } from "./digest/endpoint-slice.ts";

/** Slices by the service that they belong to. */
export class SliceIndex {
  readonly #byService = new Map<string, Map<string, KubeSlice>>();

  change(next: KubeSlice | undefined, previous: KubeSlice | undefined): void {
    if (previous !== undefined) this.#forget(previous);
    if (next === undefined) return;
    const key = `${next.namespace}/${next.service}`;
    const slices = this.#byService.get(key) ?? new Map<string, KubeSlice>();
    slices.set(next.name, next);
    this.#byService.set(key, slices);
  }

  /** In a fixed order. */
  of(serviceKey: string): readonly KubeSlice[] {
    const slices = this.#byService.get(serviceKey);
    return slices === undefined
      ? []
      : [...slices].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, slice]) => slice);
  }

  #forget({ namespace, service, name }: KubeSlice): void {
    const key = `${namespace}/${service}`;
    const slices = this.#byService.get(key);
    slices?.delete(name);
    if (slices?.size === 0) this.#byService.delete(key);
  }
}
