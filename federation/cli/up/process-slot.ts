import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, createWriteStream, openSync, type WriteStream } from "node:fs";
import { createInterface } from "node:readline";
import type { WorkloadListenerFailure, WorkloadListenerStatus } from "../../model/resource.ts";
import { parseProcessMessage } from "./process-message.ts";
import type { ProcessSpec } from "./plan.ts";
import { PROCESS_ENVIRONMENT, PROCESS_FLAGS } from "./programs.ts";
import { type Backoff, firstStart, type SlotEvent, type SlotState, transition } from "./supervision.ts";

export interface SlotOptions {
  /** Program file of the role. */
  readonly program: string;
  /** Absent: its log goes where ours goes. */
  readonly logFile?: string;
  /** Environment that the process gets below its own settings. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly backoff: Backoff;
  readonly now: () => number;
  /** Where lines of its log are shown as well; absent: they only go to the file. */
  readonly echo?: (line: string) => void;
  readonly onEvent: (event: ProcessEvent) => void;
}

export type ProcessEvent =
  | { readonly kind: "ready"; readonly slot: ProcessSlot; readonly restarted: boolean }
  | { readonly kind: "listeners"; readonly slot: ProcessSlot }
  | {
      readonly kind: "ended";
      readonly slot: ProcessSlot;
      /** `exit code 69`, `signal SIGKILL` */
      readonly how: string;
      readonly code: number | null;
      /** Until it is started again. */
      readonly waitMs: number;
      /** It never served. */
      readonly early: boolean;
    }
  | { readonly kind: "draining"; readonly slot: ProcessSlot };

/**
 * One place in the federation and the process that fills it: started again whenever it ends, with the same ports and name.
 * What to do is decided by `transition`; here it is done.
 */
export class ProcessSlot {
  readonly spec: ProcessSpec;
  readonly #options: SlotOptions;
  readonly #children = new Set<ChildProcess>();
  #state: SlotState;
  #current: ChildProcess | undefined;
  #listeners: readonly WorkloadListenerStatus[] = [];
  #failures: readonly WorkloadListenerFailure[] = [];
  #admin: string | undefined;
  #everReady = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(spec: ProcessSpec, options: SlotOptions) {
    this.spec = spec;
    this.#options = options;
    this.#state = firstStart(options.now(), options.backoff);
    this.#spawn();
  }

  get pid(): number | undefined {
    return this.#current?.pid;
  }

  get running(): boolean {
    return this.#state.kind === "running";
  }

  /** Where workloads reach the current process. */
  get listeners(): readonly WorkloadListenerStatus[] {
    return this.#listeners;
  }

  /** Where they should reach it and do not. */
  get failures(): readonly WorkloadListenerFailure[] {
    return this.#failures;
  }

  /** Where the current process answers metrics and status, once it serves. */
  get admin(): string | undefined {
    return this.running ? this.#admin : undefined;
  }

  /** Lets all its processes finish what they have: they accept for `lameDuckMs` more, and are killed after `graceMs`. */
  async drain(lameDuckMs: number, graceMs: number): Promise<void> {
    this.#apply({ kind: "stop" });
    clearTimeout(this.#timer);
    const living = [...this.#children];
    for (const child of living) child.kill("SIGTERM");
    const relief = setTimeout(() => relieve(living), lameDuckMs);
    const killer = setTimeout(() => this.kill(), graceMs);
    await Promise.all(living.map(ended));
    clearTimeout(relief);
    clearTimeout(killer);
  }

  /** Asks all its processes to end at once, kills what has not ended after `graceMs`, and resolves when all are gone. */
  async stop(graceMs: number): Promise<void> {
    this.#apply({ kind: "stop" });
    clearTimeout(this.#timer);
    const living = [...this.#children];
    for (const child of living) child.kill("SIGINT");
    const killer = setTimeout(() => {
      for (const child of living) child.kill("SIGKILL");
    }, graceMs);
    await Promise.all(living.map(ended));
    clearTimeout(killer);
  }

  /** Without waiting: the process that supervises is about to be gone itself. */
  kill(): void {
    for (const child of this.#children) child.kill("SIGKILL");
  }

  #apply(event: SlotEvent): void {
    const { now, backoff } = this.#options;
    const previous = this.#state;
    this.#state = transition(previous, event, now(), backoff);
    if (this.#state.kind === "waiting") {
      // A timer may fire a fraction of a millisecond early: a tick that changed nothing sets it again.
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#apply({ kind: "tick" }), Math.ceil(this.#state.until - now()));
    }
    if (this.#state !== previous && this.#state.kind === "starting") this.#spawn();
  }

  #spawn(): void {
    const { generation } = this.#state;
    const { echo, onEvent } = this.#options;
    const child = this.#launch();
    this.#current = child;
    this.#listeners = [];
    this.#failures = [];
    this.#children.add(child);
    const { logFile } = this.#options;
    if (echo !== undefined && logFile !== undefined) copyLines(child, logFile, echo);
    child.on("message", (message) => this.#onMessage(generation, message));
    child.once("error", (error) => echo?.(`${error.message}\n`));
    child.once("close", (code, signal) => {
      this.#children.delete(child);
      const before = this.#state;
      this.#apply({ kind: "exited", generation });
      // A predecessor that ended after its drain, or an end that was asked for, is no news.
      if (this.#state === before || this.#state.kind !== "waiting") return;
      const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
      const waitMs = this.#state.until - this.#options.now();
      onEvent({ kind: "ended", slot: this, how, code, waitMs, early: !this.#everReady });
    });
  }

  /** Those that drain have accepted until now, so that no connection was refused meanwhile. */
  #relievePredecessors(): void {
    relieve([...this.#children].filter((child) => child !== this.#current));
  }

  #launch(): ChildProcess {
    const { program, env, logFile, echo } = this.#options;
    const settings = { ...PROCESS_ENVIRONMENT, ...env, ...this.spec.env };
    if (logFile === undefined) {
      return spawn(process.execPath, [...PROCESS_FLAGS, program], {
        env: settings,
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      });
    }
    if (echo !== undefined) {
      return spawn(process.execPath, [...PROCESS_FLAGS, program], {
        env: settings,
        stdio: ["ignore", "pipe", "pipe", "ipc"],
      });
    }
    // Its own handle on the file: under load no byte of its log passes through this process.
    const log = openSync(logFile, "a", 0o600);
    try {
      return spawn(process.execPath, [...PROCESS_FLAGS, program], {
        env: settings,
        stdio: ["ignore", log, log, "ipc"],
      });
    } finally {
      closeSync(log);
    }
  }

  #onMessage(generation: number, message: unknown): void {
    const parsed = parseProcessMessage(message);
    if (parsed === undefined || generation !== this.#state.generation) return;
    switch (parsed.type) {
      case "ready": {
        this.#apply({ kind: "ready", generation });
        this.#admin = parsed.admin;
        this.#relievePredecessors();
        const restarted = this.#everReady;
        this.#everReady = true;
        return this.#options.onEvent({ kind: "ready", slot: this, restarted });
      }
      case "listeners":
        this.#listeners = parsed.listeners;
        this.#failures = parsed.failures;
        return this.#options.onEvent({ kind: "listeners", slot: this });
      case "draining":
        this.#apply({ kind: "draining", generation });
        return this.#options.onEvent({ kind: "draining", slot: this });
    }
  }
}

/** Tells them that whoever takes over accepts now. */
function relieve(children: readonly ChildProcess[]): void {
  for (const child of children) if (child.connected) child.send({ type: "relieved" }, () => {});
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) resolve();
    else child.once("close", () => resolve());
  });
}

/** To the file as it comes, to the screen line by line. */
function copyLines(child: ChildProcess, logFile: string, echo: (line: string) => void): void {
  const file: WriteStream = createWriteStream(logFile, { flags: "a", mode: 0o600 });
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    stream.pipe(file, { end: false });
    createInterface({ input: stream }).on("line", echo);
  }
  child.once("close", () => file.end());
}
