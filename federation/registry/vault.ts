import type { Stored } from "./store.ts";

/** Where private keys lie, by name. What lies elsewhere than in the owner's own files is sealed. */
export interface Vault {
  read(name: string): Stored<string | undefined>;
  /** Writes it once; answers what lies there afterwards, which another instance may have written first. */
  create(name: string, text: string): Stored<string>;
  remove(name: string): Stored<void>;
}
