import { createPrivateKey, X509Certificate } from "node:crypto";
import { watch as watchFile } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { Clock, Timer } from "../process/clock.ts";
import { errorCode } from "./atomic-file.ts";

/** As `SecretSource` of the data plane has it. */
export interface FileSecret {
  readonly version: number;
  readonly certificatePem?: string;
  readonly privateKeyPem?: string;
  readonly authoritiesPem?: string;
}

export interface FileSecrets {
  get(name: string): FileSecret | undefined;
  subscribe(listener: (name: string) => void): () => void;
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
const FILES = ["tls.crt", "tls.key", "ca.crt"] as const;

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
  readonly #good = new Map<string, FileSecret>();
  /** Sizes and times of what was read last, good or bad. */
  readonly #seen = new Map<string, string>();
  readonly #listeners = new Set<(name: string) => void>();
  #timer: Timer | undefined;
  #unwatch: () => void = () => {};
  #stopped = false;
  #reading: Promise<void> | undefined;
  #version = 0;

  constructor(options: FileSecretsOptions) {
    this.#options = options;
  }

  get(name: string): FileSecret | undefined {
    return this.#good.get(name);
  }

  subscribe(listener: (name: string) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
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
      if (errorCode(error) !== "ENOENT") this.#complain("", String(error));
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
    if (!read.ok) return this.#complain(name, read.error);
    this.#version += 1;
    this.#good.set(name, { ...read.value, version: this.#version });
    this.#options.log.info("secret_read", { secret: name, notAfter: notAfterOf(read.value.certificatePem) });
    for (const listener of [...this.#listeners]) listener(name);
  }

  #complain(name: string, detail: string): void {
    const kept = this.#good.has(name);
    const { code } = PROBLEMS.external_credential;
    const { directory } = this.#options;
    this.#options.log.error("secret_refused", { code, directory, secret: name, detail, lastGoodStays: kept });
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

async function readSecret(directory: string): Promise<Result<Omit<FileSecret, "version">>> {
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
  const { "tls.crt": certificate, "tls.key": key, "ca.crt": authorities } = texts;
  if ((certificate === undefined) !== (key === undefined))
    return err(`${certificate === undefined ? "tls.crt" : "tls.key"} is missing beside the other one`);
  const pair = certificate === undefined || key === undefined ? undefined : judgePair(certificate, key);
  if (pair !== undefined) return err(pair);
  const bad = authorities === undefined ? undefined : judgeAuthorities(authorities);
  if (bad !== undefined) return err(bad);
  return ok({
    ...(certificate === undefined ? {} : { certificatePem: certificate }),
    ...(key === undefined ? {} : { privateKeyPem: key }),
    ...(authorities === undefined ? {} : { authoritiesPem: authorities }),
  });
}

/** What is wrong with a pair; never with a word of the key itself. */
function judgePair(certificate: string, key: string): string | undefined {
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(certificate);
  } catch {
    return "tls.crt is not a certificate in PEM";
  }
  try {
    return leaf.checkPrivateKey(createPrivateKey(key)) ? undefined : "tls.key does not belong to tls.crt";
  } catch {
    return "tls.key is not a private key in PEM without a passphrase";
  }
}

const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

function judgeAuthorities(text: string): string | undefined {
  const certificates = text.match(PEM_CERTIFICATE) ?? [];
  if (certificates.length === 0) return "ca.crt holds no certificate in PEM";
  try {
    for (const certificate of certificates) new X509Certificate(certificate);
    return undefined;
  } catch {
    return "ca.crt holds something that is no certificate";
  }
}

function notAfterOf(certificate: string | undefined): string | undefined {
  return certificate === undefined ? undefined : new X509Certificate(certificate).validTo;
}
