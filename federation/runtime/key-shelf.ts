import type { KeyShelf } from "../registry/trust-authority.ts";
import type { Vault } from "../registry/vault.ts";
import { createSigningKey, loadSigningKey, type SigningKey } from "../trust/index.ts";

/** The name of a key in the vault. The one of the foundation is just `signing`. */
export function shelfName(kid: string): string {
  return `signing-${kid}`;
}

/** Signing keys in a vault; each is read once, since a key never changes. */
export function createKeyShelf(vault: Vault): KeyShelf {
  const known = new Map<string, SigningKey>();
  return {
    async make() {
      const { privateKeyPem } = createSigningKey();
      const key = load(privateKeyPem);
      const kept = await vault.create(shelfName(key.kid), privateKeyPem);
      if (!kept.ok) throw new Error(`the new signing key cannot be kept: ${kept.error.kind}`);
      known.set(key.kid, key);
      return key;
    },
    async find(kid) {
      const cached = known.get(kid);
      if (cached !== undefined) return cached;
      const text = await vault.read(shelfName(kid));
      if (!text.ok) throw new Error(`the signing key ${kid} cannot be read: ${text.error.kind}`);
      if (text.value === undefined) return undefined;
      const key = load(text.value);
      known.set(kid, key);
      return key;
    },
    async remove(kid) {
      known.delete(kid);
      await vault.remove(shelfName(kid));
    },
  };
}

function load(pem: string): SigningKey {
  const key = loadSigningKey(pem);
  if (!key.ok) throw new Error(key.error.detail);
  return key.value;
}
