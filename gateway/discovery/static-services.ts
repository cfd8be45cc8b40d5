import { watch as watchFile } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { StaticCluster } from "../../federation/model/static-cluster.ts";
import { decodeStaticCluster } from "../../federation/model/wire/static-cluster.ts";
import { createWatch, type PublishableWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Timer } from "../process/clock.ts";
import { errorCode, fileProblem } from "./atomic-file.ts";
import type { LocatedIssue } from "./yaml-file.ts";

export interface StaticFileProblem extends Problem {
  readonly issues: readonly LocatedIssue[];
}

export interface StaticServices {
  /** The last good state of the file. */
  readonly cluster: Watch<StaticCluster>;
  stop(): void;
}

export interface StaticServicesOptions {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Logger;
  /** Announces that something in the directory changed; answers how to stop. Tests hand in their own. */
  readonly watchDirectory?: (directory: string, onChange: () => void) => () => void;
}

// Far above 5,000 workloads; a larger file is a mistake, and reading it would stall the proxy.
const MAX_BYTES = 4 * 1024 * 1024;
// Editors write in several steps; one reading after the last of them is enough.
const SETTLE_MS = 20;
// Network file systems and exhausted inotify tell nothing: ask again now and then.
const POLL_MS = 5000;

export async function readStaticCluster(path: string): Promise<Result<StaticCluster, StaticFileProblem>> {
  const text = await readText(path);
  return text.ok ? parseStaticCluster(path, text.value) : text;
}

export async function parseStaticCluster(
  path: string,
  text: string,
): Promise<Result<StaticCluster, StaticFileProblem>> {
  const plain = decodeStaticCluster(parseJson(text));
  if (plain.ok) return plain;
  // Loaded only for real YAML, and for mistakes, whose lines it knows: the parser costs a process 10 MB.
  const { decodeYaml } = await import("./yaml-file.ts");
  const decoded = decodeYaml(text, decodeStaticCluster);
  if (decoded.ok) return decoded;
  const count = decoded.error.length;
  const detail = `${path} has ${count} mistake${count === 1 ? "" : "s"}`;
  return err({ ...problem("file_invalid", detail), issues: decoded.error });
}

/** Every JSON document is a YAML document, and programs write JSON; `undefined` for anything else. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

async function readText(path: string): Promise<Result<string, StaticFileProblem>> {
  try {
    const { size } = await stat(path);
    if (size > MAX_BYTES) {
      return err({ ...problem("file_invalid", `${path} is larger than ${MAX_BYTES} bytes`), issues: [] });
    }
    return ok(await readFile(path, "utf8"));
  } catch (error) {
    return err({ name: "file_unreadable", detail: fileProblem(path, "read", error).detail, issues: [] });
  }
}

/** Follows the file: every good edit is published, a bad one is logged once and changes nothing. */
export async function openStaticServices(
  options: StaticServicesOptions,
): Promise<Result<StaticServices, StaticFileProblem>> {
  const text = await readText(options.path);
  if (!text.ok) return text;
  const initial = await parseStaticCluster(options.path, text.value);
  return initial.ok ? ok(new FollowedFile(options, text.value, initial.value)) : initial;
}

class FollowedFile implements StaticServices {
  readonly cluster: PublishableWatch<StaticCluster>;
  readonly #options: StaticServicesOptions;
  readonly #unwatch: () => void;
  /** The last text that was judged. */
  #seen: string;
  /** What was last complained of; empty while the file is good. */
  #complaint = "";
  /** Of two readings under way the later one counts, whichever ends first. */
  #reading = 0;
  #stopped = false;
  #timer: Timer | undefined;

  constructor(options: StaticServicesOptions, text: string, initial: StaticCluster) {
    this.#options = options;
    this.#seen = text;
    this.cluster = createWatch(initial);
    const watchDirectory = options.watchDirectory ?? watchDirectoryOf(options.log);
    this.#unwatch = watchDirectory(dirname(options.path), () => {
      if (!this.#stopped) this.#schedule(SETTLE_MS);
    });
    this.#schedule(POLL_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unwatch();
  }

  #schedule(ms: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(ms, () => void this.#reread());
  }

  async #reread(): Promise<void> {
    const mine = ++this.#reading;
    const text = await readText(this.#options.path);
    if (this.#stopped || mine !== this.#reading) return;
    this.#schedule(POLL_MS);
    if (!text.ok) return this.#complain(text.error);
    if (text.value === this.#seen && this.#complaint === "") return;
    this.#seen = text.value;
    const parsed = await parseStaticCluster(this.#options.path, text.value);
    if (this.#stopped || mine !== this.#reading) return;
    if (parsed.ok) this.#accept(parsed.value);
    else this.#complain(parsed.error);
  }

  #accept(next: StaticCluster): void {
    this.#complaint = "";
    if (JSON.stringify(next) === JSON.stringify(this.cluster.current)) return;
    this.#options.log.info("services_read", {
      file: this.#options.path,
      workloads: next.spec.workloads.length,
    });
    this.cluster.publish(next);
  }

  #complain(found: StaticFileProblem): void {
    const key = JSON.stringify(found);
    if (key !== this.#complaint) logFileProblem(this.#options.log, this.#options.path, found);
    this.#complaint = key;
  }
}

function logFileProblem(log: Logger, path: string, { name, detail, issues }: StaticFileProblem): void {
  const code = PROBLEMS[name].code;
  if (issues.length === 0) log.error("services_file_refused", { code, file: path, detail });
  for (const { line, path: field, message, suggestion } of issues) {
    log.error("services_file_refused", { code, file: path, line, path: field, detail: message, suggestion });
  }
}

/** The directory, not the file: editors and Kubernetes replace the file, and a watch would stay with the old one. */
function watchDirectoryOf(log: Logger) {
  return (directory: string, onChange: () => void): (() => void) => {
    const giveUp = (error: unknown): void =>
      log.warn("services_file_polled", { directory: basename(directory), reason: errorCode(error) });
    try {
      const watcher = watchFile(directory, { persistent: false }, onChange);
      watcher.on("error", giveUp);
      return () => watcher.close();
    } catch (error) {
      giveUp(error);
      return () => {};
    }
  };
}
