import { formatAddress, parseAddress } from "../../model/address.ts";
import { ok } from "../../model/result.ts";
import type { ExitCode } from "../exit.ts";
import { EXIT } from "../exit.ts";
import { fail } from "../failure.ts";
import { type Invocation, type Outcome, usage } from "../invocation.ts";
import type { Terminal } from "../terminal.ts";
import { type ProcessEvent, ProcessSlot } from "../up/process-slot.ts";
import { SOURCES } from "../up/programs.ts";
import { BACKOFF } from "../up/supervision.ts";
import { MetricSum } from "./sum-metrics.ts";

type Env = Readonly<Record<string, string | undefined>>;

// As a single process does: a moment in which others notice that it leaves, and then what it has may be finished.
const LAME_DUCK_MS = 1_000;
const DEFAULT_DRAIN_S = 120;
const STOP_GRACE_MS = 1_000;
const SCRAPE_TIMEOUT_MS = 2_000;
const ANY_LOOPBACK_PORT = "127.0.0.1:0";

/**
 * Several processes of one role behind one port, which the kernel divides connections among (SO_REUSEPORT). Each is a member
 * of its own, `gateway-1-1`, `gateway-1-2`, …, with its own tunnels and revision; this process carries no traffic: it starts
 * again what ends, and answers health, metrics and status for all of them.
 */
export async function runWorkers(
  { terminal }: Invocation,
  role: "gateway" | "agent",
  count: number,
  env: Env,
): Promise<Outcome> {
  const listen = parseAddress(env["ISTHMUS_LISTEN"] ?? "");
  if (!listen.ok || listen.value.port === 0)
    return usage("--workers needs --listen with a port: one that they all share");
  const group = new WorkerGroup(terminal, role, env);
  const killAll = (): void => group.kill();
  process.once("exit", killAll);
  await group.start(count);
  const admin = group.isOver ? undefined : await openAdmin(env, group);
  if (admin !== undefined && !admin.ok) return fail(admin.error.name, admin.error.detail);
  if (admin !== undefined) {
    const at = formatAddress(listen.value);
    terminal.err(`${count} ${role} processes share ${at}; health and metrics of all: ${admin.value.address}`);
  }
  const outcome = await group.end();
  process.off("exit", killAll);
  admin?.value.close();
  return outcome;
}

class WorkerGroup {
  readonly slots: ProcessSlot[] = [];
  readonly metrics = new MetricSum();
  readonly #terminal: Terminal;
  readonly #role: "gateway" | "agent";
  readonly #env: Env;
  readonly #interrupted: AbortSignal;
  #failed: number | undefined;
  #wake: () => void = () => {};

  constructor(terminal: Terminal, role: "gateway" | "agent", env: Env) {
    this.#terminal = terminal;
    this.#role = role;
    this.#env = env;
    this.#interrupted = terminal.interrupted();
    this.#interrupted.addEventListener("abort", () => this.#wake(), { once: true });
  }

  get isOver(): boolean {
    return this.#failed !== undefined || this.#interrupted.aborted;
  }

  /** One after the other: the first one finds out whether the port can be had at all. */
  async start(count: number): Promise<void> {
    for (let index = 0; index < count && !this.isOver; index++) {
      const slot = this.#launch(`${this.#env["ISTHMUS_MEMBER"] ?? ""}-${index + 1}`, count);
      this.slots.push(slot);
      await this.#until(() => slot.running);
    }
  }

  /** Resolves when somebody ends the group, or it cannot serve, and all of it is gone. */
  async end(): Promise<Outcome> {
    await this.#until(() => false);
    const orderly = this.#interrupted.reason === "SIGTERM";
    const drainMs = Number(this.#env["ISTHMUS_DRAIN_SECONDS"] || DEFAULT_DRAIN_S) * 1000;
    const graceMs = LAME_DUCK_MS + drainMs + STOP_GRACE_MS;
    await Promise.all(
      this.slots.map((slot) => (orderly ? slot.drain(LAME_DUCK_MS, graceMs) : slot.stop(STOP_GRACE_MS))),
    );
    if (this.#failed !== undefined) return ok(this.#failed as ExitCode);
    return ok(this.#interrupted.reason === "SIGINT" ? EXIT.interrupted : EXIT.yes);
  }

  kill(): void {
    for (const slot of this.slots) slot.kill();
  }

  #launch(name: string, count: number): ProcessSlot {
    const own = {
      ISTHMUS_MEMBER: name,
      ISTHMUS_WORKERS: String(count),
      ISTHMUS_ADMIN_LISTEN: ANY_LOOPBACK_PORT,
    };
    const spec = { name, role: this.#role, servesWorkloads: false, tunnelsTo: [], env: own };
    return new ProcessSlot(spec, {
      program: SOURCES[this.#role],
      env: this.#env,
      now: () => this.#terminal.elapsed(),
      backoff: BACKOFF,
      onEvent: (event) => this.#onEvent(event),
    });
  }

  #onEvent(event: ProcessEvent): void {
    const { name } = event.slot.spec;
    if (event.kind === "ended" || event.kind === "draining") this.metrics.retire(name);
    // One that never served has said why itself, and the others would fail for the same reason.
    if (event.kind === "ended" && event.early) this.#failed ??= event.code ?? EXIT.unanswered;
    else if (event.kind === "ended")
      this.#terminal.err(`${name} ended with ${event.how}; it starts again in ${Math.ceil(event.waitMs)} ms`);
    this.#wake();
  }

  async #until(done: () => boolean): Promise<void> {
    while (!done() && !this.isOver) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

async function openAdmin(env: Env, { slots, metrics }: WorkerGroup) {
  const { openAdminServer } = await import("../../../gateway/process/admin-server.ts");
  const wanted = parseAddress(env["ISTHMUS_ADMIN_LISTEN"] || ANY_LOOPBACK_PORT);
  const listen = wanted.ok ? wanted.value : { host: "127.0.0.1", port: 0 };
  return openAdminServer(listen, {
    ready: () => {
      const running = slots.filter((slot) => slot.running).length;
      return { ready: running > 0, reason: `${running} of ${slots.length} workers serve` };
    },
    async metrics() {
      await Promise.all(slots.map((slot) => scrape(slot, metrics)));
      return metrics.render();
    },
    status: async () => ({ workers: await Promise.all(slots.map(statusOf)) }),
    async probe({ workload, service, port }) {
      const query = new URLSearchParams({ workload, service, port: String(port) });
      for (const slot of slots) {
        const text = await ask(slot, `/probe?${query.toString()}`);
        if (text !== undefined) return JSON.parse(text) as ProbeAnswer;
      }
      return { ok: false, code: "ISTH-3003", detail: "no worker serves" };
    },
  });
}

type ProbeAnswer =
  | { readonly ok: true; readonly latencyMs: number; readonly caller: string }
  | { readonly ok: false; readonly code: string; readonly detail: string };

async function statusOf(slot: ProcessSlot): Promise<object> {
  const text = await ask(slot, "/status");
  return {
    member: slot.spec.name,
    pid: slot.pid ?? null,
    running: slot.running,
    admin: slot.admin ?? null,
    status: text === undefined ? null : (JSON.parse(text) as unknown),
  };
}

/** A worker that does not answer is counted as it last was. */
async function scrape(slot: ProcessSlot, metrics: MetricSum): Promise<void> {
  const text = await ask(slot, "/metrics");
  if (text !== undefined) metrics.read(slot.spec.name, text);
}

async function ask(slot: ProcessSlot, path: string): Promise<string | undefined> {
  const { admin } = slot;
  if (admin === undefined) return undefined;
  try {
    const answer = await fetch(`http://${admin}${path}`, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
    return answer.ok ? await answer.text() : undefined;
  } catch {
    return undefined;
  }
}
