import { watch as watchFile } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import type { StaticCluster } from "../../federation/model/static-cluster.ts";
import { decodeStaticCluster } from "../../federation/model/wire/static-cluster.ts";
import { createWatch, type Watch } from "../dataplane/lifecycle/watch.ts";
import type { Clock, Timer } from "../process/clock.ts";
import { errorCode, fileProblem } from "./atomic-file.ts";
import { decodeYaml, type LocatedIssue } from "./yaml-file.ts";

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

export function parseStaticCluster(path: string, text: string): Result<StaticCluster, StaticFileProblem> {
  const decoded = decodeYaml(text, decodeStaticCluster);
  if (decoded.ok) return decoded;
  const count = decoded.error.length;
  const detail = `${path} has ${count} mistake${count === 1 ? "" : "s"}`;
  return err({ ...problem("file_invalid", detail), issues: decoded.error });
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
  const { path, clock, log } = options;
  const first = await readText(path);
  if (!first.ok) return first;
  const initial = parseStaticCluster(path, first.value);
  if (!initial.ok) return initial;
  const cluster = createWatch(initial.value);

  let seen = first.value;
  let complaint = "";
  let timer: Timer | undefined;
  let stopped = false;
  // Of two readings under way the later one counts, whichever ends first.
  let reading = 0;
  const complain = (problem: StaticFileProblem): void => {
    const key = JSON.stringify(problem);
    if (key !== complaint) logFileProblem(log, path, problem);
    complaint = key;
  };
  const reread = async (): Promise<void> => {
    const mine = ++reading;
    const text = await readText(path);
    if (stopped || mine !== reading) return;
    schedule(POLL_MS);
    if (!text.ok) return complain(text.error);
    if (text.value === seen && complaint === "") return;
    seen = text.value;
    const parsed = parseStaticCluster(path, text.value);
    if (!parsed.ok) return complain(parsed.error);
    complaint = "";
    log.info("services_read", { file: path, workloads: parsed.value.spec.workloads.length });
    if (JSON.stringify(parsed.value) !== JSON.stringify(cluster.current)) cluster.publish(parsed.value);
  };
  const schedule = (ms: number): void => {
    timer?.cancel();
    timer = clock.after(ms, () => void reread());
  };
  const unwatch = (options.watchDirectory ?? watchDirectoryOf(log))(dirname(path), () => {
    if (!stopped) schedule(SETTLE_MS);
  });
  schedule(POLL_MS);
  return ok({
    cluster,
    stop() {
      stopped = true;
      timer?.cancel();
      unwatch();
    },
  });
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
