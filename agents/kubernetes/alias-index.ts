import type { KubeImport } from "./digest/mcs.ts";
import { parseAliasSource } from "./mcs/alias.ts";

/** Aliases by the service that they stand for, so that a change of that one finds them. */
export class AliasIndex {
  readonly #bySource = new Map<string, Set<string>>();

  /** Whether it says something else than before. */
  change(key: string, next: KubeImport | undefined, previous: KubeImport | undefined): boolean {
    if (next?.from === previous?.from) return false;
    const [left, joined] = [sourceKey(previous), sourceKey(next)];
    if (left !== undefined) this.#forget(left, key);
    if (joined !== undefined) this.#bySource.set(joined, (this.#bySource.get(joined) ?? new Set()).add(key));
    return true;
  }

  of(source: string): Iterable<string> {
    return this.#bySource.get(source) ?? [];
  }

  #forget(source: string, key: string): void {
    const aliases = this.#bySource.get(source);
    aliases?.delete(key);
    if (aliases?.size === 0) this.#bySource.delete(source);
  }
}

/** `billing/payments`, whichever clusters are meant. */
function sourceKey(alias: KubeImport | undefined): string | undefined {
  const source = alias?.from === undefined ? undefined : parseAliasSource(alias.from);
  return source === undefined ? undefined : `${source.namespace}/${source.name}`;
}
