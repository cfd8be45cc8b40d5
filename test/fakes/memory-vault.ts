import { ok } from "../../federation/model/result.ts";
import type { Vault } from "../../federation/registry/vault.ts";

/** Keys of a registry that keeps none. */
export function createMemoryVault(): Vault & { readonly texts: ReadonlyMap<string, string> } {
  const texts = new Map<string, string>();
  return {
    texts,
    read: async (name) => ok(texts.get(name)),
    async create(name, text) {
      if (!texts.has(name)) texts.set(name, text);
      return ok(texts.get(name) ?? text);
    },
    async remove(name) {
      texts.delete(name);
      return ok(undefined);
    },
  };
}
