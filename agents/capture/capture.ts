import { spawn } from "node:child_process";
import type { Logger } from "../../federation/model/log.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import type { Watch } from "../../gateway/dataplane/index.ts";
import type { Clock, Timer } from "../../gateway/process/clock.ts";
import { type Interfaces, pickLanding } from "./landing.ts";
import {
  type CapturedPort,
  renderBeat,
  renderChanges,
  renderGuardChanges,
  renderRemoval,
  renderTable,
  type Wanted,
} from "./rules.ts";

/** Runs a script of nft in one transaction; answers what it complained of, if anything. */
export type RunNft = (script: string) => Promise<string | undefined>;

export interface CaptureOptions {
  readonly captured: Watch<readonly CapturedPort[]>;
  /** Addresses of pods that take no plain connection. */
  readonly guarded?: Watch<readonly string[]> | undefined;
  /** The node's own, as they are now. */
  readonly interfaces: () => Interfaces;
  readonly clock: Clock;
  readonly log: Logger;
  readonly run?: RunNft;
}

export interface Capture {
  start(): Promise<void>;
  /** Takes everything out of the way again; connections under way go on. */
  stop(): Promise<void>;
}

const BEAT_MS = 1_000;
const RETRY_MS = 5_000;

/** Keeps this node's nftables in step with what is to be captured. One transaction at a time. */
export function createCapture(options: CaptureOptions): Capture {
  const { captured, guarded, interfaces, clock, log, run = runNft } = options;
  let inForce: Wanted | undefined;
  let queue: Promise<void> = Promise.resolve();
  let complaint = "";
  let timer: Timer | undefined;
  let stopped = false;
  let removal: Promise<void> | undefined;

  const transact = async (script: string): Promise<boolean> => {
    const failure = await run(script);
    if (failure !== undefined && failure !== complaint)
      log.error("capture_failed", { code: PROBLEMS.capture_failed.code, detail: failure });
    complaint = failure ?? "";
    return failure === undefined;
  };
  const step = async (): Promise<void> => {
    if (stopped) return;
    const landing = pickLanding(interfaces(), inForce?.landing ?? {});
    const wanted = { captured: captured.current, guarded: guarded?.current ?? [], landing };
    // Somebody flushed the rules, or they were never there: the next beat writes all of them.
    inForce = (await transact(renderStep(inForce, wanted))) ? wanted : undefined;
  };
  const enqueue = (work: () => Promise<void>): Promise<void> => {
    queue = queue.then(work);
    return queue;
  };
  const beat = (): void => {
    void enqueue(step).then(() => {
      if (!stopped) timer = clock.after(inForce === undefined ? RETRY_MS : BEAT_MS, beat);
    });
  };
  let unsubscribes: readonly ((() => void) | undefined)[] = [];
  return {
    async start() {
      if (stopped) return;
      // Not before: until now nobody listens for what would be captured, and nobody would take the rules away again.
      unsubscribes = [captured, guarded].map((wanted) => wanted?.subscribe(() => void enqueue(step)));
      await enqueue(step);
      log.info("capture_started", { ports: captured.current.length });
      timer = clock.after(BEAT_MS, beat);
    },
    stop() {
      stopped = true;
      timer?.cancel();
      for (const unsubscribe of unsubscribes) unsubscribe?.();
      // Asked again while it is at it: whoever asks has to wait for the same end.
      removal ??= queue.then(() => transact(renderRemoval())).then(() => {});
      return removal;
    },
  };
}

function renderStep(inForce: Wanted | undefined, wanted: Wanted): string {
  const { landing } = wanted;
  const stays = inForce?.landing.ip4 === landing.ip4 && inForce?.landing.ip6 === landing.ip6;
  if (inForce === undefined || !stays) return renderTable(wanted);
  return (
    renderChanges(inForce.captured, wanted.captured) +
    renderGuardChanges(inForce.guarded, wanted.guarded) +
    renderBeat()
  );
}

const NFT_TIMEOUT_MS = 5_000;

function runNft(script: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const child = spawn("nft", ["-f", "-"], { stdio: ["pipe", "ignore", "pipe"], timeout: NFT_TIMEOUT_MS });
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(0, 600);
    });
    child.on("error", (error) => resolve(error.message));
    child.on("close", (code) => resolve(code === 0 ? undefined : complaint || `nft ended with ${code}`));
    child.stdin.on("error", () => {});
    child.stdin.end(script);
  });
}
