import { constants, homedir } from "node:os";
import { performance } from "node:perf_hooks";
import { runProgram } from "./program.ts";
import type { Terminal } from "./terminal.ts";

/** npx and npm run put their own name for the script in the environment. */
const startedByNpm = process.env["npm_lifecycle_event"] !== undefined;
const ORPHAN_CHECK_MS = 500;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

function createTerminal(): Terminal {
  let interruption: AbortController | undefined;
  return {
    out: (text) => void process.stdout.write(`${text}\n`),
    err: (text) => void process.stderr.write(`${text}\n`),
    outIsTerminal: process.stdout.isTTY === true,
    errIsTerminal: process.stderr.isTTY === true,
    env: (name) => process.env[name],
    now: () => Date.now(),
    elapsed: () => performance.now(),
    random: () => Math.random(),
    home: homedir(),
    program: startedByNpm ? "npx isthmus" : "isthmus",
    async stdin() {
      const chunks: Buffer[] = [];
      for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk as Buffer));
      return Buffer.concat(chunks).toString("utf8");
    },
    interrupted() {
      interruption ??= listenForSignals();
      return interruption.signal;
    },
  };
}

function listenForSignals(): AbortController {
  const controller = new AbortController();
  for (const signal of SIGNALS) process.on(signal, () => controller.abort(signal));
  return controller;
}

/** Whoever reads our output may stop reading: `isthmus get services | head -1` is no error. */
function endQuietlyOnBrokenPipe(): void {
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
}

/** A launcher that is killed cannot pass the signal on: end as if it had. */
function endWithLauncher(): void {
  const end = (): void => void process.kill(process.pid, constants.signals.SIGTERM);
  // Our own launcher, on an older Node.js, holds a channel.
  if (process.channel !== undefined && process.channel !== null) {
    process.once("disconnect", end);
    process.channel.unref();
  }
  // npx and npm run put a shell between; it dies of a SIGTERM to npx without a word to us.
  if (!startedByNpm) return;
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    end();
  }, ORPHAN_CHECK_MS);
  watch.unref();
}

endQuietlyOnBrokenPipe();
endWithLauncher();
process.exitCode = await runProgram(process.argv.slice(2), createTerminal());
