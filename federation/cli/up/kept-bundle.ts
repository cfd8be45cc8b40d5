import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What a bundle depends on without holding it: how it is made, and what resolves its imports (npm writes the second of these). */
const ALSO_READ: readonly string[] = [
  "package.json",
  "node_modules/.package-lock.json",
  "tsconfig.json",
  "federation/cli/bundle/node-builtins.ts",
  "federation/cli/bundle/process-bundle.ts",
  "federation/cli/up/programs.ts",
];

/** A file system's clock is behind by a tick of the kernel's or, on old ones, by up to a second. */
const CLOCKS_DIFFER_MS = 1_000;

/**
 * The bundle that was made last, in a directory that nobody else writes to: bundling costs more than all else that a
 * start does, and its sources seldom change. Who takes it gets a copy: what runs from it outlives the next bundle.
 */
export class KeptBundle {
  readonly #root: string;
  readonly #place: string;
  readonly #name: string;

  constructor(root: string, place: string, name: string) {
    this.#root = root;
    this.#place = place;
    this.#name = name;
  }

  /** Copies it to `directory`; `false`: there is none of these sources. */
  async take(directory: string): Promise<boolean> {
    try {
      const inputs: unknown = JSON.parse(await readFile(this.#list, "utf8"));
      if (!Array.isArray(inputs)) return false;
      await cp(this.#kept(stampOf(this.#root, inputs.map(String)).digest), directory, { recursive: true });
      return true;
    } catch {
      return false;
    }
  }

  /** `inputs`, from the root, are the files that it was made of, and `begun` is when their reading began. */
  async keep(directory: string, inputs: readonly string[], begun: number): Promise<void> {
    const { digest, newest } = stampOf(this.#root, inputs);
    // Somebody saved a source meanwhile: which of the two was read is not known.
    if (newest > begun - CLOCKS_DIFFER_MS) return;
    await mkdir(this.#place, { recursive: true, mode: 0o700 });
    const fresh = await mkdtemp(join(this.#place, `${this.#name}-new-`));
    try {
      await cp(directory, fresh, { recursive: true });
      await rename(fresh, this.#kept(digest)).catch(unlessThere);
      await writeFile(`${fresh}.json`, JSON.stringify(inputs), { mode: 0o600 });
      await rename(`${fresh}.json`, this.#list);
    } finally {
      await rm(fresh, { recursive: true, force: true });
    }
    await this.#removeOthers(digest);
  }

  get #list(): string {
    return join(this.#place, `${this.#name}.json`);
  }

  #kept(digest: string): string {
    return join(this.#place, `${this.#name}-${digest}`);
  }

  async #removeOthers(digest: string): Promise<void> {
    const kept = /^[0-9a-f]{64}$/;
    for (const entry of await readdir(this.#place)) {
      const found = entry.startsWith(`${this.#name}-`) ? entry.slice(this.#name.length + 1) : "";
      if (kept.test(found) && found !== digest) {
        await rm(join(this.#place, entry), { recursive: true, force: true });
      }
    }
  }
}

/** Another start kept the same at the same time. */
function unlessThere(cause: unknown): void {
  const isThere = cause instanceof Error && "code" in cause && cause.code === "ENOTEMPTY";
  if (!isThere) throw cause;
}

/** By the time of the last change of each file's entry: npm gives all files one date of modification, and sizes stay. */
function stampOf(
  root: string,
  inputs: readonly string[],
): { readonly digest: string; readonly newest: number } {
  const hash = createHash("sha256").update(JSON.stringify([root, process.version]));
  let newest = 0;
  for (const input of [...ALSO_READ, ...inputs]) {
    const stat = statSync(join(root, input), { throwIfNoEntry: false });
    newest = Math.max(newest, stat?.ctimeMs ?? 0);
    hash.update(JSON.stringify([input, stat?.ctimeMs, stat?.size]));
  }
  return { digest: hash.digest("hex"), newest };
}
