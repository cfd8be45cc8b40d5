import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ok } from "../model/result.ts";
import type { Stored } from "../registry/store.ts";
import type { Vault } from "../registry/vault.ts";
import { readSecretFile, writeSecretFile } from "../trust/index.ts";
import { splitPem } from "./keys.ts";

/** Keys as files of a directory that is its owner's alone. The root's two parts lie apart, since one of them is public. */
export class FileVault implements Vault {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  async read(name: string): Stored<string | undefined> {
    const paths = this.#pathsOf(name);
    if (!paths.every((path) => existsSync(path))) return ok(undefined);
    const texts = [];
    for (const path of paths) {
      const text = readSecretFile(path);
      if (!text.ok) return { ok: false, error: { kind: "unavailable", detail: text.error.detail } };
      texts.push(text.value);
    }
    return ok(texts.join("\n"));
  }

  async create(name: string, text: string): Stored<string> {
    const existing = await this.read(name);
    if (!existing.ok || existing.value !== undefined) return existing as Awaited<Stored<string>>;
    const paths = this.#pathsOf(name);
    const parts = paths.length === 1 ? [text] : splitPem(text);
    for (const [index, path] of paths.entries()) {
      const written = writeSecretFile(path, parts[index] ?? "");
      if (!written.ok) return { ok: false, error: { kind: "unavailable", detail: written.error.detail } };
    }
    return ok(text);
  }

  async remove(name: string): Stored<void> {
    await Promise.all(this.#pathsOf(name).map((path) => rm(path, { force: true })));
    return ok(undefined);
  }

  #pathsOf(name: string): readonly string[] {
    const files =
      name === "root" ? ["root.crt", "root.key"] : [name === "signing" ? "signing.key" : `${name}.key`];
    return files.map((file) => join(this.#directory, file));
  }
}
