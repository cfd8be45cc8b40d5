import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;
const INTERRUPTED = 130;

// Debian keeps servers in sbin, which an ordinary user's PATH leaves out.
const SEARCH_PATH = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];

export interface Started {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The end of what it wrote to stderr: the reason, when it could not start. */
  readonly complaint: () => string;
}

/**
 * Owns every process and the temporary directory of a run. Each child leads its own process group, so that Ctrl-C reaches
 * only us and whole families (nginx and its workers) end together, whatever way this process ends.
 */
export class Children {
  readonly directory: string = mkdtempSync(join(tmpdir(), "isthmus-bench-"));
  readonly #running = new Set<ChildProcess>();
  #stopping = false;

  constructor() {
    process.once("exit", () => this.#killAll());
    for (const [signal, code] of [
      ["SIGINT", INTERRUPTED],
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ] as const) {
      process.on(signal, () => {
        // Asked twice: end now; the handler above kills whatever is left.
        if (this.#stopping) process.exit(code);
        this.#stopping = true;
        void this.stopAll().finally(() => process.exit(code));
      });
    }
  }

  /** Starts `command` on one core (or on any, when `cpu` is undefined). */
  start(cpu: number | undefined, command: string, args: readonly string[]): Started {
    const [file, argv] =
      cpu === undefined ? [command, args] : ["taskset", ["--cpu-list", String(cpu), command, ...args]];
    const child = spawn(file, argv, {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, PATH: SEARCH_PATH.join(delimiter) },
    });
    this.#running.add(child);
    child.once("exit", () => this.#running.delete(child));
    let tail = "";
    child.once("error", (error) => {
      this.#running.delete(child);
      tail += error.message;
    });
    child.stderr.on("data", (chunk: Buffer) => {
      tail = (tail + chunk.toString()).slice(-2000);
    });
    // taskset execs the command, so the pid stays the same.
    return { process: child, pid: child.pid ?? 0, complaint: () => tail.trim() };
  }

  /**
   * Runs `work` and ends every child afterwards. What fails because a signal is already ending the children is not an
   * error of its own.
   */
  async during(work: () => Promise<number>): Promise<number> {
    try {
      return await work();
    } catch (error) {
      if (this.#stopping) return INTERRUPTED;
      throw error;
    } finally {
      await this.stopAll();
    }
  }

  /** Asks politely first: a federation ends its own roles on SIGINT, and nginx's master its workers. */
  async stop(child: ChildProcess): Promise<void> {
    if (!this.#running.has(child)) return;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGINT");
    const late = setTimeout(() => killGroup(child), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(late);
    killGroup(child);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map((child) => this.stop(child)));
    rmSync(this.directory, { recursive: true, force: true });
  }

  #killAll(): void {
    for (const child of this.#running) killGroup(child);
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function killGroup(child: ChildProcess): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
  } catch {
    // The whole group has ended already.
  }
}

export function isInstalled(command: string): boolean {
  return SEARCH_PATH.some((directory) => isExecutable(join(directory, command)));
}

/** Says which of the tools are absent, and how they are installed; `false`: none is. */
export function complainOfAbsent(tools: readonly string[], packages: string): boolean {
  const absent = tools.filter((tool) => !isInstalled(tool));
  if (absent.length === 0) return false;
  process.stderr.write(`error: absent: ${absent.join(", ")}\nfix: apt-get install ${packages}\n`);
  return true;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

export async function waitForPort(port: number, started: Started): Promise<void> {
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; ) {
    if (started.process.exitCode !== null || started.pid === 0) break;
    if (await accepts(port)) return;
    await sleep(50);
  }
  throw new Error(
    `${started.process.spawnfile} does not listen on ${port}: ${started.complaint() || "no reason given"}`,
  );
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
