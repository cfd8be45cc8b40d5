import { join } from "node:path";
import { telemetrySwitch } from "../../model/telemetry-switch.ts";
import type { AppliedResource } from "../../model/resource.ts";
import { ok, type Result } from "../../model/result.ts";
import type { LocalFederation } from "../../model/wire/local-federation.ts";
import { type Failure, fail } from "../failure.ts";
import type { Invocation } from "../invocation.ts";
import { readToken } from "../connection.ts";
import { createRegistryClient } from "../registry-client.ts";
import { Federation } from "./launch.ts";
import { planFederation, portsNeeded } from "./plan.ts";
import { findFreePorts } from "./ports.ts";
import type { ProcessEvent } from "./process-slot.ts";
import { bundlePrograms, SOURCES } from "./programs.ts";
import { openStateDir, type StateDir } from "./state-dir.ts";

export interface RunRequest {
  readonly federation: LocalFederation;
  readonly resources: readonly AppliedResource[];
  /** Absent: a temporary directory that goes with the federation. */
  readonly stateDir?: string;
  readonly timeoutMs: number;
}

export interface RunningFederation {
  readonly federation: Federation;
  /** Ends every process and leaves nothing behind that was not asked for. */
  end(): Promise<void>;
}

/** Starts a federation in the foreground; what happens to its processes afterwards is told on stderr. */
export async function runFederation(
  invocation: Invocation,
  request: RunRequest,
): Promise<Result<RunningFederation, Failure>> {
  const { terminal, flags } = invocation;
  const ports = await findFreePorts(portsNeeded(request.federation), "127.0.0.1", terminal.random);
  if (ports === undefined) return fail("port_in_use", "no free ports are left on 127.0.0.1");
  const opened = await openStateDir(request.stateDir, process.pid);
  if (!opened.ok) return opened;
  const plan = planFederation(request.federation, request.resources, opened.value.path, ports);
  const telemetry = telemetrySwitch((key) => process.env[key]);
  const programs = await bundlePrograms(join(plan.stateDir, "programs"), {
    withTelemetry: telemetry.traces || telemetry.metrics,
    // Its launcher made sure of it: code that nobody else may write.
    cache: terminal.env("NODE_COMPILE_CACHE"),
    now: terminal.now,
    tell: terminal.err,
  });
  const federation = new Federation(plan, {
    programs,
    env: childEnvironment(process.env, programs === SOURCES),
    now: () => terminal.elapsed(),
    wallClock: () => terminal.now(),
    onEvent(event) {
      const words = describeEvent(event);
      if (words !== undefined) terminal.err(words);
    },
    signal: terminal.interrupted(),
    timeoutMs: request.timeoutMs,
    connect: async (url, tokenFile) => {
      const token = await readToken(tokenFile);
      return createRegistryClient({ url, token: token.ok ? token.value : undefined });
    },
    ...(flags.has("verbose")
      ? {
          echo: (name: string, line: string) =>
            terminal.err(`${invocation.paintErr("dim", `${name} |`)} ${line}`),
        }
      : {}),
  });
  const end = ending(federation, opened.value);
  const started = await federation.start();
  if (started.ok) return ok({ federation, end });
  await end();
  return started;
}

// What is said once, for all processes: how to log, and what is true of this machine.
const SHARED_SETTINGS: readonly string[] = [
  "ISTHMUS_LOG_LEVEL",
  "ISTHMUS_ACCESS_LOG",
  "ISTHMUS_DNS_SERVERS",
  "ISTHMUS_CLUSTER_CIDRS",
  "ISTHMUS_DRAIN_SECONDS",
];

/** Settings meant for this program are not meant for its processes: each gets its own, but for these. */
function childEnvironment(
  env: NodeJS.ProcessEnv,
  compilesSources: boolean,
): Record<string, string | undefined> {
  const kept = Object.entries(env).filter(
    ([name]) => !name.startsWith("ISTHMUS_") || SHARED_SETTINGS.includes(name),
  );
  const all = Object.fromEntries(kept);
  // A bundle starts no sooner with it, and would leave megabytes there at its end: each `up` has its own copy.
  return compilesSources ? all : { ...all, NODE_COMPILE_CACHE: undefined };
}

function ending(federation: Federation, stateDir: StateDir): () => Promise<void> {
  // Whatever ends this process, a fault of its own included, ends its children too.
  const kill = (): void => federation.kill();
  process.once("exit", kill);
  return async () => {
    await federation.stop();
    process.off("exit", kill);
    await stateDir.release();
  };
}

function describeEvent(event: ProcessEvent): string | undefined {
  const { spec, pid } = event.slot;
  switch (event.kind) {
    case "ready":
      return `${spec.name} serves (pid ${pid})`;
    case "listeners":
      return undefined;
    case "draining":
      return `${spec.name} drains; its successor starts (pid ${pid})`;
    case "ended":
      return `${spec.name} ended with ${event.how}; it starts again in ${Math.ceil(event.waitMs)} ms`;
  }
}
