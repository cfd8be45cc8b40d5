import { watch as watchFile } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Clock, Timer } from "../process/clock.ts";
import { errorCode } from "./atomic-file.ts";
import {
  SECRET_KEYS,
  type SecretReader,
  SecretStore,
  type SecretTexts,
  type StoredSecret,
} from "./secret-store.ts";

export interface FileSecrets extends SecretReader {
  stop(): void;
}

export interface FileSecretsOptions {
  /** Holds one directory for each secret: `tls.crt` and `tls.key`, `ca.crt`, or all three. */
  readonly directory: string;
  readonly clock: Clock;
  readonly log: Logger;
}

// Well within the two seconds in which a new certificate is promised to be used; a stat of a few files costs nothing.
const POLL_MS = 500;
const MAX_FILE_BYTES = 1024 * 1024;
const MAX_SECRETS = 1_000;
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const FILES = SECRET_KEYS;

/**
 * Secrets from a directory, followed by asking (mounted secrets and network file systems tell nothing) and by being told.
 * A secret is taken whole or not at all: a key that does not fit its certificate leaves the last good pair in use.
 */
export async function openFileSecrets(options: FileSecretsOptions): Promise<FileSecrets> {
  const secrets = new FileSecretsReader(options);
  await secrets.read();
  secrets.follow();
  return secrets;
}

class FileSecretsReader implements FileSecrets {
  readonly #options: FileSecretsOptions;
  readonly #store: SecretStore;
  /** Sizes and times of what was read last, good or bad. */
  readonly #seen = new Map<string, string>();
  #timer: Timer | undefined;
  #unwatch: () => void = () => {};
  #stopped = false;
  #reading: Promise<void> | undefined;

  constructor(options: FileSecretsOptions) {
    this.#options = options;
    this.#store = new SecretStore(options.log, { directory: options.directory });
  }

  get(name: string): StoredSecret | undefined {
    return this.#store.get(name);
  }

  subscribe(listener: (name: string) => void): () => void {
    return this.#store.subscribe(listener);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unwatch();
  }

  follow(): void {
    try {
      const watcher = watchFile(
        this.#options.directory,
        { recursive: true, persistent: false },
        () => void this.read(),
      );
      watcher.on("error", () => {});
      this.#unwatch = () => watcher.close();
    } catch {
      // Asking is enough; being told is only faster.
    }
    this.#schedule();
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(POLL_MS, () => {
      void this.read().then(() => {
        if (!this.#stopped) this.#schedule();
      });
    });
  }

  /** One reading at a time. */
  read(): Promise<void> {
    this.#reading ??= this.#readAll().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readAll(): Promise<void> {
    let names: readonly string[] = [];
    try {
      names = (await readdir(this.#options.directory))
        .filter((name) => NAME.test(name))
        .slice(0, MAX_SECRETS);
    } catch (error) {
      // No directory yet: no secrets yet. What was good stays, whatever happened to the directory.
      if (errorCode(error) !== "ENOENT") this.#store.refuse("", String(error));
      return;
    }
    for (const name of names) await this.#readOne(name);
  }

  async #readOne(name: string): Promise<void> {
    const directory = join(this.#options.directory, name);
    const stamp = await stampOf(directory);
    if (stamp === undefined || stamp === this.#seen.get(name)) return;
    const read = await readSecret(directory);
    // Changed while it was read: the next reading sees the end of it.
    if ((await stampOf(directory)) !== stamp || this.#stopped) return;
    this.#seen.set(name, stamp);
    if (read.ok) this.#store.take(name, read.value);
    else this.#store.refuse(name, read.error);
  }
}

/** `undefined`: not a directory, or none of the files. */
async function stampOf(directory: string): Promise<string | undefined> {
  const stamps = await Promise.all(
    FILES.map(async (file) => {
      try {
        const { mtimeMs, size, ino } = await stat(join(directory, file));
        return `${mtimeMs} ${size} ${ino}`;
      } catch (error) {
        return errorCode(error) === "ENOENT" || errorCode(error) === "ENOTDIR"
          ? ""
          : String(errorCode(error));
      }
    }),
  );
  return stamps.every((stamp) => stamp === "") ? undefined : stamps.join("|");
}

async function readSecret(directory: string): Promise<Result<SecretTexts>> {
  const texts: { [F in (typeof FILES)[number]]?: string } = {};
  for (const file of FILES) {
    try {
      const path = join(directory, file);
      if ((await stat(path)).size > MAX_FILE_BYTES)
        return err(`${file} is larger than ${MAX_FILE_BYTES} bytes`);
      texts[file] = await readFile(path, "utf8");
    } catch (error) {
      if (errorCode(error) !== "ENOENT") return err(`${file} cannot be read: ${String(errorCode(error))}`);
    }
  }
  return ok(texts);
}
