import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { Stored } from "../registry/store.ts";
import type { Vault } from "../registry/vault.ts";

/** Encrypts what lies in a place that others may read, and shows that it is unchanged when it is opened. */
export interface Sealer {
  /** `name` goes into the seal: what was sealed under one does not open under another. */
  seal(name: string, text: string): Promise<string>;
  /** Throws where it was changed, or sealed with another key. */
  open(name: string, sealed: string): Promise<string>;
}

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const PREFIX = "a256gcm.";

/** AES-256-GCM with a secret of the environment: 32 bytes in base64. Web Crypto, since every runtime has it. */
export async function secretSealer(secret: string): Promise<Result<Sealer, Problem>> {
  const raw = Buffer.from(secret, "base64");
  if (raw.length !== KEY_BYTES)
    return err(problem("config_invalid", `the sealing secret must be ${KEY_BYTES} bytes in base64`));
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
  const parameters = (name: string, iv: Buffer) => ({
    name: "AES-GCM",
    iv,
    additionalData: new TextEncoder().encode(name),
  });
  return ok({
    async seal(name, text) {
      const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
      const sealed = await crypto.subtle.encrypt(
        parameters(name, nonce),
        key,
        new TextEncoder().encode(text),
      );
      return PREFIX + Buffer.concat([nonce, Buffer.from(sealed)]).toString("base64");
    },
    async open(name, sealed) {
      const bytes = Buffer.from(sealed.slice(PREFIX.length), "base64");
      const nonce = bytes.subarray(0, NONCE_BYTES);
      const text = await crypto.subtle.decrypt(parameters(name, nonce), key, bytes.subarray(NONCE_BYTES));
      return new TextDecoder().decode(text);
    },
  });
}

/** A vault whose contents are worthless without the sealer's key. */
export class SealedVault implements Vault {
  readonly #inner: Vault;
  readonly #sealer: Sealer;

  constructor(inner: Vault, sealer: Sealer) {
    this.#inner = inner;
    this.#sealer = sealer;
  }

  async read(name: string): Stored<string | undefined> {
    const sealed = await this.#inner.read(name);
    return !sealed.ok || sealed.value === undefined ? sealed : this.#open(name, sealed.value);
  }

  async create(name: string, text: string): Stored<string> {
    const sealed = await this.#inner.create(name, await this.#sealer.seal(name, text));
    return sealed.ok ? this.#open(name, sealed.value) : sealed;
  }

  remove(name: string): Stored<void> {
    return this.#inner.remove(name);
  }

  async #open(name: string, sealed: string): Stored<string> {
    try {
      return ok(await this.#sealer.open(name, sealed));
    } catch {
      const detail = `the key "${name}" was sealed with another secret, or changed`;
      return err({ kind: "unavailable", detail });
    }
  }
}
