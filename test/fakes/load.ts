import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { type Address, readResponse, type WireResponse } from "./http-wire.ts";

/** What the load saw: a failure is anything but a complete 200. */
export interface LoadReport {
  readonly ok: number;
  readonly failed: readonly Failure[];
}

export interface Failure {
  /** `503 ISTH-3003`, `reset`, `refused` … */
  readonly what: string;
  /** `performance.now()` at that moment. */
  readonly at: number;
}

export interface Load {
  /** So far; failures in the order in which they happened. */
  report(): LoadReport;
  /** Lets requests that are under way finish. */
  stop(): Promise<LoadReport>;
}

const AFTER_FAILURE_MS = 5;

/**
 * Keep-alive connections that each send the next request when the answer is complete. Raw sockets: a client library would
 * hide retries and connection errors, and these are what is counted.
 */
export function startLoad(
  address: Address,
  connections: number,
  path = "/",
  host = "cart.shop.svc.clusterset.local",
  /** A complete 200, and when it was asked for (`performance.now()`). */
  onOk?: (askedAt: number) => void,
): Load {
  const failed: Failure[] = [];
  let ok = 0;
  let running = true;
  const request = `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
  const count = (outcome: WireResponse | string, askedAt: number) => {
    if (typeof outcome !== "string" && outcome.status === 200) {
      ok++;
      onOk?.(askedAt);
    } else failed.push({ what: describeAnswer(outcome), at: performance.now() });
  };

  const runOne = async () => {
    while (running) {
      const clean = await runConnection(address, request, () => running, count);
      if (!clean && running) await new Promise((resolve) => setTimeout(resolve, AFTER_FAILURE_MS));
    }
  };
  const runners = Array.from({ length: connections }, runOne);
  return {
    report: () => ({ ok, failed: [...failed] }),
    async stop() {
      running = false;
      await Promise.all(runners);
      return { ok, failed: [...failed] };
    },
  };
}

/** One request on a connection of its own; a broken connection is the word for it. */
export async function requestOnce(
  address: Address,
  options: {
    readonly path?: string;
    readonly host?: string;
    readonly field?: string;
    readonly timeoutMs?: number;
  } = {},
): Promise<WireResponse | string> {
  let answer: WireResponse | string = "closed";
  const field = options.field === undefined ? "" : `${options.field}\r\n`;
  const request = `GET ${options.path ?? "/"} HTTP/1.1\r\nHost: ${options.host ?? "cart.shop.svc.clusterset.local"}\r\n${field}Connection: close\r\n\r\n`;
  await runConnection(
    address,
    request,
    () => false,
    (outcome) => {
      answer = outcome;
    },
    options.timeoutMs,
  );
  return answer;
}

/** `200`, `503 ISTH-3003`, `reset` … */
export function describeAnswer(outcome: WireResponse | string): string {
  if (typeof outcome === "string") return outcome;
  return `${outcome.status} ${outcome.headers.get("isthmus-code") ?? ""}`.trim();
}

/** Counts failures by what they were, for a readable assertion. */
export function tally(failed: readonly Failure[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { what } of failed) counts[what] = (counts[what] ?? 0) + 1;
  return counts;
}

const ANSWER_TIMEOUT_MS = 10_000;

/** Resolves when the connection is over: `true` after a complete answer, `false` after a failure. */
function runConnection(
  address: Address,
  request: string,
  again: () => boolean,
  count: (outcome: WireResponse | string, askedAt: number) => void,
  timeoutMs = ANSWER_TIMEOUT_MS,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ ...address, noDelay: true });
    let received: Buffer = Buffer.alloc(0);
    let over = false;
    let askedAt = 0;
    const ask = () => {
      askedAt = performance.now();
      socket.write(request);
    };
    const finish = (clean: boolean, failure?: string) => {
      if (over) return;
      over = true;
      if (failure !== undefined) count(failure, askedAt);
      socket.destroy();
      resolve(clean);
    };
    socket.setTimeout(timeoutMs, () => finish(false, "timeout"));
    socket.on("connect", ask);
    socket.on("data", (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      const read = readResponse(received);
      if (read === undefined) return;
      received = read.rest;
      count(read.response, askedAt);
      const closing = read.response.headers.get("connection") === "close";
      if (closing || !again()) finish(read.response.status === 200);
      else ask();
    });
    socket.on("error", (error: NodeJS.ErrnoException) => finish(false, word(error)));
    socket.on("close", () => finish(false, "closed"));
  });
}

function word(error: NodeJS.ErrnoException): string {
  const words: Readonly<Record<string, string>> = {
    ECONNREFUSED: "refused",
    ECONNRESET: "reset",
    EPIPE: "reset",
  };
  return words[error.code ?? ""] ?? error.message;
}

/** A TCP connection that echoes: resolves with what came back. */
export function echoOnce(address: Address, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ ...address, noDelay: true });
    let back = "";
    socket.on("connect", () => socket.write(text));
    socket.on("data", (chunk: Buffer) => {
      back += chunk.toString("utf8");
      if (back.length >= text.length) socket.end();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(back));
  });
}
