import { mkdir, writeFile } from "node:fs/promises";
import { ok, type Result } from "../../model/result.ts";
import { writeContext } from "../config-file.ts";
import { type Failure, fail } from "../failure.ts";
import { loadMembership } from "../join-member.ts";
import type { RegistryClient } from "../registry-client.ts";
import { applyFile } from "./applied-file.ts";
import { ensureJoined } from "./ensure-joined.ts";
import { findProblem, readTail } from "./log-tail.ts";
import type { ClusterPlan, FederationPlan, ProcessSpec } from "./plan.ts";
import type { Programs } from "./programs.ts";
import { type ProcessEvent, ProcessSlot } from "./process-slot.ts";
import {
  type ImportAddress,
  importAddresses,
  missingAcknowledgements,
  missingProcesses,
} from "./readiness.ts";
import { isFull } from "./state-dir.ts";
import { BACKOFF } from "./supervision.ts";

export interface LaunchOptions {
  readonly programs: Programs;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds that never go back. */
  readonly now: () => number;
  /** Milliseconds since the epoch: certificates have dates. */
  readonly wallClock: () => number;
  /** Shows a line of a process's log. */
  readonly echo?: (process: string, line: string) => void;
  /** Told of what happens once the federation is ready. */
  readonly onEvent: (event: ProcessEvent) => void;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly connect: (url: string, tokenFile: string) => Promise<RegistryClient>;
}

// Acknowledgements are asked for, not announced: often enough that nobody notices, seldom enough to cost nothing.
const POLL_MS = 40;
// Ctrl-C ends everything in less than two seconds; what does not end by itself in one is killed.
const STOP_GRACE_MS = 1000;

/** A federation of processes on this machine, from its first process to its last. */
export class Federation {
  readonly plan: FederationPlan;
  readonly #options: LaunchOptions;
  readonly #slots: ProcessSlot[] = [];
  readonly #deadline: number;
  #registry: RegistryClient | undefined;
  #ready = false;
  #failure: Failure | undefined;
  #wake: () => void = () => {};

  constructor(plan: FederationPlan, options: LaunchOptions) {
    this.plan = plan;
    this.#options = options;
    this.#deadline = options.now() + options.timeoutMs;
    options.signal.addEventListener("abort", () => this.#wake(), { once: true });
  }

  /** Registry first, then each cluster as soon as it has joined; resolves when everything is ready and in force. */
  async start(): Promise<Result<void, Failure>> {
    const prepared = await this.#prepare();
    if (!prepared.ok) return prepared;
    this.#launch(this.plan.registry);
    // While the registry starts on one core, another one loads what joining needs.
    const loaded = loadMembership();
    const { registryUrl, adminTokenFile } = this.plan;
    const serving = await this.#until(() => missingProcesses(this.#slots, []));
    if (!serving.ok) return serving;
    await loaded;
    const registry = await this.#options.connect(registryUrl, adminTokenFile);
    this.#registry = registry;
    const joined = await Promise.all(
      this.plan.clusters.map((cluster) => this.#startCluster(cluster, registry)),
    );
    const refused = joined.find((result) => !result.ok);
    if (refused !== undefined) return refused;
    const applied = await applyFile(`${this.plan.stateDir}/applied.json`, this.plan.resources, registry);
    if (!applied.ok) return applied;
    const complete = await this.#until(() => missingProcesses(this.#slots, this.plan.imports));
    if (!complete.ok) return complete;
    const inForce = await this.#untilAcknowledged(registry);
    this.#ready = inForce.ok;
    return inForce;
  }

  /** In the order of the file, whichever cluster joined first. */
  get processes(): readonly { readonly spec: ProcessSpec; readonly pid: number | undefined }[] {
    const { registry, clusters } = this.plan;
    return [registry, ...clusters.flatMap(({ processes }) => processes)].flatMap((spec) =>
      this.#slots.filter((slot) => slot.spec === spec).map(({ pid }) => ({ spec, pid })),
    );
  }

  get imports(): readonly ImportAddress[] {
    return importAddresses(this.#slots, this.plan.imports);
  }

  /** There once `start` succeeded. */
  get registry(): RegistryClient | undefined {
    return this.#registry;
  }

  logFile(process: string): string {
    return `${this.plan.stateDir}/logs/${process}.log`;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.stop(STOP_GRACE_MS)));
  }

  /** At once and without waiting. */
  kill(): void {
    for (const slot of this.#slots) slot.kill();
  }

  async #prepare(): Promise<Result<void, Failure>> {
    try {
      for (const { stateDir } of this.plan.clusters) await mkdir(stateDir, { recursive: true, mode: 0o700 });
      await mkdir(`${this.plan.stateDir}/registry`, { recursive: true, mode: 0o700 });
      const { configFile, name, registryUrl, adminTokenFile } = this.plan;
      await writeContext(configFile, { name, registry: registryUrl, tokenFile: adminTokenFile });
      return ok(undefined);
    } catch (error) {
      return fail(isFull(error) ? "disk_full" : "state_unusable", String(error));
    }
  }

  async #startCluster(cluster: ClusterPlan, registry: RegistryClient): Promise<Result<void, Failure>> {
    const joined = await ensureJoined(cluster, this.plan.registryUrl, registry, this.#options.wallClock);
    if (!joined.ok) return joined;
    await writeFile(cluster.servicesFile, JSON.stringify(cluster.services, null, 2), { mode: 0o600 });
    for (const spec of cluster.processes) this.#launch(spec);
    return ok(undefined);
  }

  #launch(spec: ProcessSpec): void {
    // Someone pressed Ctrl-C, or another process failed: nothing new begins.
    if (this.#options.signal.aborted || this.#failure !== undefined) return;
    const { programs, env, now, echo } = this.#options;
    const slot = new ProcessSlot(spec, {
      program: programs[spec.role],
      logFile: this.logFile(spec.name),
      env,
      now,
      backoff: BACKOFF,
      ...(echo === undefined ? {} : { echo: (line: string) => echo(spec.name, line) }),
      onEvent: (event) => this.#onEvent(event),
    });
    this.#slots.push(slot);
  }

  #onEvent(event: ProcessEvent): void {
    if (this.#ready) return this.#options.onEvent(event);
    if (event.kind === "ended" && event.early) {
      // A process that never served would only fail again: the whole start ends, and the log says why.
      void this.#explainEnd(event.slot.spec.name, event.how).then((failure) => {
        this.#failure ??= failure;
        this.#wake();
      });
    }
    this.#wake();
  }

  async #explainEnd(process: string, how: string): Promise<Failure> {
    const file = this.logFile(process);
    const lines = await readTail(file);
    const found = findProblem(lines);
    const detail =
      found === undefined ? `${process} ended with ${how} before it served` : `${process}: ${found.detail}`;
    return {
      name: found?.name ?? "process_failed",
      detail,
      lines: lines.map((line) => `${process} | ${line}`),
    };
  }

  async #untilAcknowledged(registry: RegistryClient): Promise<Result<void, Failure>> {
    let missing: readonly string[] = ["the registry has not answered"];
    const ask = async (): Promise<void> => {
      const clusters = await registry.clusters();
      const specs = this.#slots.map(({ spec }) => spec);
      missing = clusters.ok ? missingAcknowledgements(specs, clusters.value.items) : [clusters.error.detail];
    };
    await ask();
    while (missing.length > 0) {
      const waited = await this.#until(() => missing, POLL_MS);
      if (!waited.ok) return waited;
      await ask();
    }
    return ok(undefined);
  }

  /** Resolves when nothing is missing any more or, if `atMostMs` is given, after that long; fails with the reason that it never will be. */
  async #until(missing: () => readonly string[], atMostMs?: number): Promise<Result<void, Failure>> {
    const { now, signal } = this.#options;
    const end = atMostMs === undefined ? Number.POSITIVE_INFINITY : now() + atMostMs;
    for (;;) {
      if (this.#failure !== undefined) return { ok: false, error: this.#failure };
      if (signal.aborted) return fail("process_failed", "interrupted", { exit: 130 });
      const awaited = missing();
      if (awaited.length === 0 || now() >= end) return ok(undefined);
      const left = this.#deadline - now();
      if (left <= 0) {
        return fail("upstream_timeout", `not ready within ${Math.round(this.#options.timeoutMs / 1000)} s`, {
          why: firstOf(awaited),
          fix: `read the logs in ${this.plan.stateDir}/logs, or give it longer with --timeout`,
          exit: 124,
        });
      }
      await this.#woken(Math.min(left, end - now()));
    }
  }

  #woken(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, Math.max(1, ms));
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

const MAX_NAMED = 5;

/** The first few of what may be thousands. */
function firstOf(words: readonly string[]): string {
  const more = words.length - MAX_NAMED;
  return [...words.slice(0, MAX_NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join("; ");
}
