import { ok, type Result } from "../../model/result.ts";
import { EXIT } from "../exit.ts";
import type { Failure } from "../failure.ts";
import { type FederationFile, readFederation } from "../input/federation-file.ts";
import { failWithMistakes, inOrder, renderMistake } from "../input/mistake.ts";
import { readInput } from "../input/read-input.ts";
import { type Command, hint, type Invocation, type Outcome, usage } from "../invocation.ts";
import { isData, renderData } from "../output/format.ts";
import { readTimeout } from "../timeout.ts";
import { portsNeeded } from "./plan.ts";
import { type RunningFederation, runFederation } from "./run.ts";
import { nextCommands, readyDocument, renderSummary } from "./summary.ts";

// On a busy machine a process needs seconds to start; half a minute means that something is wrong.
const DEFAULT_TIMEOUT_MS = 30_000;

export const up: Command = async (invocation) => {
  const { terminal, flags } = invocation;
  const began = terminal.elapsed();
  const interrupted = terminal.interrupted();
  const file = flags.text("file");
  if (file === undefined) return usage("up needs a file", `${terminal.program} up -f federation.yaml`);
  const timeoutMs = readTimeout(invocation, DEFAULT_TIMEOUT_MS);
  if (!timeoutMs.ok) return timeoutMs;
  const read = await readFederationFile(invocation, file);
  if (!read.ok) return read;
  if (flags.has("dryRun")) return describePlan(invocation, read.value);
  const stateDir = flags.text("state");
  const running = await runFederation(invocation, {
    ...read.value,
    ...(stateDir === undefined ? {} : { stateDir }),
    timeoutMs: timeoutMs.value,
  });
  if (interrupted.aborted) return leave(invocation, running);
  if (!running.ok) return running;
  announce(invocation, running.value, terminal.elapsed() - began);
  await aborted(interrupted);
  return leave(invocation, running);
};

async function readFederationFile(
  { terminal }: Invocation,
  file: string,
): Promise<Result<FederationFile, Failure>> {
  const text = await readInput(file, terminal);
  if (!text.ok) return text;
  const { content, mistakes, warnings } = readFederation(file, text.value);
  if (content === undefined) return failWithMistakes(file, mistakes);
  for (const warning of inOrder(warnings)) terminal.err(`warning: ${renderMistake(warning)}`);
  return ok(content);
}

function announce(invocation: Invocation, { federation }: RunningFederation, tookMs: number): void {
  const { terminal, format, paint } = invocation;
  if (format === "json") terminal.out(JSON.stringify(readyDocument(federation)));
  else if (format === "yaml") terminal.out(renderData("yaml", readyDocument(federation)));
  else terminal.out(renderSummary(federation, tookMs, paint));
  if (isData(format)) return;
  for (const command of nextCommands(federation, terminal.program)) hint(invocation, "next", command);
  terminal.err("Ctrl-C ends all of it.");
}

function describePlan({ terminal, format }: Invocation, { federation, resources }: FederationFile): Outcome {
  const clusters = federation.spec.clusters.map(({ name, gateways, agents, agentReplicas, workloads }) => ({
    name,
    gateways,
    agents: agents ? agentReplicas : 0,
    workloads: workloads.length,
  }));
  const plan = { federation: federation.metadata.name, clusters, resources: resources.length };
  if (isData(format)) {
    terminal.out(
      renderData(format, { apiVersion: "isthmus.dev/v1alpha1", kind: "LocalFederationPlan", ...plan }),
    );
    return ok(EXIT.yes);
  }
  terminal.out(`would start ${plan.federation}: a registry and, with ${portsNeeded(federation)} free ports,`);
  for (const { name, gateways, agents, workloads } of clusters) {
    terminal.out(`  cluster ${name}: ${gateways} gateway(s), ${agents} agent(s), ${workloads} workload(s)`);
  }
  terminal.out(`and apply ${plan.resources} resource(s); nothing was started`);
  return ok(EXIT.yes);
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Ctrl-C is how this command ends; by the convention of shells it says so in its exit code. */
export async function leave(
  { terminal }: Invocation,
  running: Result<RunningFederation, Failure>,
): Promise<Outcome> {
  if (running.ok) await running.value.end();
  return ok(terminal.interrupted().reason === "SIGINT" ? EXIT.interrupted : EXIT.yes);
}
