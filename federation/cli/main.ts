import { constants, homedir } from "node:os";
import { performance } from "node:perf_hooks";
import { runProgram } from "./program.ts";
import type { Terminal } from "./terminal.ts";

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
    // npx and npm run put their own name for the script in the environment.
    program: process.env["npm_lifecycle_event"] === undefined ? "isthmus" : "npx isthmus",
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

/** Started by a launcher (an older Node.js) that was killed: end as if it had passed a signal on. */
function endWithLauncher(): void {
  if (process.channel === undefined || process.channel === null) return;
  process.once("disconnect", () => process.kill(process.pid, constants.signals.SIGTERM));
  process.channel.unref();
}

endQuietlyOnBrokenPipe();
endWithLauncher();
process.exitCode = await runProgram(process.argv.slice(2), createTerminal());
