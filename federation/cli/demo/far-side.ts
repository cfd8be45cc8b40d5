import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

/** What a process of the far cluster wrote down of one call. */
export interface Witness {
  /** `east-agent-1` */
  readonly process: string;
  /** Who began the call. */
  readonly caller: string;
  /** The other end of that process's own TLS connection. */
  readonly peer: string;
}

/** Finds the first of `callers`' tunnels in a log of JSON lines. */
export function findWitness(process: string, log: string, caller: string): Witness | undefined {
  for (const line of log.split("\n")) {
    if (!line.includes('"tunnel_opened"') || !line.includes(caller)) continue;
    const entry = parseLine(line);
    if (entry?.["event"] === "tunnel_opened" && entry["caller"] === caller) {
      return { process, caller, peer: String(entry["peer"]) };
    }
  }
  return undefined;
}

/** Reads the logs until every one of them tells of the caller, or time is up; answers those that do. */
export async function awaitWitnesses(
  logs: readonly { readonly process: string; readonly file: string }[],
  caller: string,
  elapsed: () => number,
): Promise<readonly Witness[]> {
  const began = elapsed();
  for (;;) {
    const found: Witness[] = [];
    for (const { process, file } of logs) {
      const witness = findWitness(process, await readFile(file, "utf8"), caller);
      if (witness !== undefined) found.push(witness);
    }
    if (found.length === logs.length || elapsed() - began > PATIENCE_MS) return found;
    await sleep(POLL_MS);
  }
}

// A log line follows its call within a millisecond; two seconds allow for a machine that is busy.
const PATIENCE_MS = 2000;
const POLL_MS = 20;

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    const parsed: unknown = JSON.parse(line);
    return typeof parsed === "object" && parsed !== null ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}
