import { ok, type Result } from "../../model/result.ts";
import { renderClusters } from "../commands/cluster.ts";
import { EXIT } from "../exit.ts";
import { type Failure, fail } from "../failure.ts";
import { type Command, hint, type Invocation, type Outcome } from "../invocation.ts";
import { isData, renderData } from "../output/format.ts";
import { readTimeout } from "../timeout.ts";
import { aborted, leave } from "../up/command.ts";
import { type RunningFederation, runFederation } from "../up/run.ts";
import { readyDocument } from "../up/summary.ts";
import { awaitWitnesses } from "./far-side.ts";
import { readDemoFile } from "./federation.ts";
import { renderClaims, renderPermitted, renderRefused } from "./render.ts";
import {
  claimsOf,
  type PermittedCall,
  type RefusedCall,
  type Transcript,
  transcriptDocument,
} from "./transcript.ts";
import { createCaller, startCart } from "./workloads.ts";

const DEFAULT_TIMEOUT_MS = 30_000;
/** Enough for a p99 that is not just the slowest call, few enough that nobody waits. */
const REPEATED_CALLS = 200;

export const demo: Command = async (invocation) => {
  const { terminal } = invocation;
  const interrupted = terminal.interrupted();
  const timeoutMs = readTimeout(invocation, DEFAULT_TIMEOUT_MS);
  if (!timeoutMs.ok) return timeoutMs;
  const began = terminal.elapsed();
  say(invocation, "Starting a registry, and a gateway and an agent in each of two clusters, east and west.");
  const cart = await startCart();
  try {
    const file = readDemoFile(cart.address);
    if (!file.ok) return file;
    const running = await runFederation(invocation, { ...file.value, timeoutMs: timeoutMs.value });
    if (interrupted.aborted) return await leave(invocation, running);
    if (!running.ok) return running;
    const outcome = await present(invocation, running.value, terminal.elapsed() - began);
    if (!outcome.ok || invocation.flags.has("once")) {
      await running.value.end();
      return outcome;
    }
    await aborted(interrupted);
    return await leave(invocation, running);
  } finally {
    cart.close();
  }
};

async function present(
  invocation: Invocation,
  running: RunningFederation,
  readyMs: number,
): Promise<Outcome> {
  const { terminal, format, flags, paint } = invocation;
  const { federation } = running;
  const { processes } = readyDocument(federation);
  say(invocation, `${processes.length} processes are ready after ${(readyMs / 1000).toFixed(2)} s.\n`);
  const permitted = await callAsWeb(invocation, running);
  if (!permitted.ok) return permitted;
  say(invocation, `${renderPermitted(permitted.value, paint)}\n`);
  const refused = await callAsBatch(invocation, running);
  if (!refused.ok) return refused;
  say(invocation, `${renderRefused(refused.value, paint)}\n`);
  const clusters = await federation.registry?.clusters();
  if (clusters?.ok === false) return clusters;
  const transcript: Transcript = {
    federation: federation.plan.name,
    readyMs,
    processes,
    permitted: permitted.value,
    refused: refused.value,
    clusters: clusters?.value.items ?? [],
  };
  const next = nextCommands(invocation, running, transcript);
  if (isData(format)) {
    const document = transcriptDocument(transcript, next);
    terminal.out(format === "json" ? JSON.stringify(document) : renderData(format, document));
  } else {
    terminal.out(`${renderClusters(invocation, transcript.clusters)}\n`);
    if (flags.has("once")) terminal.out(renderClaims(transcript, paint));
    else for (const command of next) hint(invocation, "next", command);
    if (!flags.has("once")) terminal.err("Ctrl-C ends all of it.");
  }
  return ok(claimsOf(transcript).every(({ kept }) => kept) ? EXIT.yes : EXIT.no);
}

async function callAsWeb(
  { terminal }: Invocation,
  { federation }: RunningFederation,
): Promise<Result<PermittedCall, Failure>> {
  const from = federation.imports.find(({ workload }) => workload === "ns/shop/sa/web");
  if (from === undefined) return fail("internal", "web has no address for cart");
  const caller = createCaller(terminal.elapsed);
  try {
    const answer = await caller.call(from.address);
    const latencies: number[] = [];
    for (let call = 0; call < REPEATED_CALLS; call++)
      latencies.push((await caller.call(from.address)).latencyMs);
    latencies.sort((a, b) => a - b);
    const at = (share: number): number => latencies[Math.floor((latencies.length - 1) * share)] ?? 0;
    const id = `spiffe://west.${federation.plan.name}/ns/shop/sa/web`;
    const logs = ["east-gateway-1", "east-agent-1"].map((process) => ({
      process,
      file: federation.logFile(process),
    }));
    return ok({
      from,
      answer,
      repeated: { calls: latencies.length, medianMs: at(0.5), p99Ms: at(0.99) },
      witnesses: await awaitWitnesses(logs, id, terminal.elapsed),
      caller: id,
    });
  } catch (error) {
    return callFailed("web", from.address, error);
  } finally {
    caller.close();
  }
}

async function callAsBatch(
  { terminal }: Invocation,
  { federation }: RunningFederation,
): Promise<Result<RefusedCall, Failure>> {
  const from = federation.imports.find(({ workload }) => workload === "ns/shop/sa/batch");
  if (from === undefined) return fail("internal", "batch has no address for cart");
  const caller = createCaller(terminal.elapsed);
  try {
    return ok({ from, answer: await caller.call(from.address) });
  } catch (error) {
    return callFailed("batch", from.address, error);
  } finally {
    caller.close();
  }
}

function callFailed(workload: string, address: string, error: unknown) {
  const detail = error instanceof Error ? error.message : String(error);
  return fail("upstream_reset", `${workload}'s call to ${address} broke: ${detail}`);
}

function nextCommands(
  { terminal: { program } }: Invocation,
  { federation }: RunningFederation,
  { permitted, refused }: Transcript,
): readonly string[] {
  return [
    `export ISTHMUS_CONFIG=${federation.plan.configFile}   (in a second terminal)`,
    `${program} check`,
    `curl -i http://${permitted.from.address}/   (as web: 200)`,
    `curl -i http://${refused.from.address}/   (as batch: 403)`,
    `${program} service export cart.shop --cluster east --to west --workload ns/shop/sa/web ns/shop/sa/batch --wait   (lets batch in)`,
  ];
}

/** What people read as it happens; whoever asked for data gets one document instead. */
function say({ terminal, format }: Invocation, text: string): void {
  if (!isData(format)) terminal.out(text);
}
