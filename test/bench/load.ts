import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RunningChain, Site } from "./chain.ts";
import { parseH2load } from "./h2load.ts";
import type { Options, Section } from "./options.ts";
import { parseWrk, type WrkResult } from "./wrk.ts";

export interface Load {
  readonly section: Section;
  readonly connections: number;
  readonly path: string;
  readonly headers: readonly string[];
  /** Mean pause of each connection between two requests. */
  readonly meanPauseMs?: number;
}

export const PACED_CONNECTIONS = 64;

const GRPC_FIELDS = ["content-type: application/grpc", "te: trailers", "grpc-timeout: 10S"];

/** What one section puts on a chain; the main table has one load per number of connections. How `paced` pauses: `halfLoadPauseMs`. */
export function loadsOf(section: Section, options: Options): Load[] {
  const plain = { section, path: "/", headers: [] };
  switch (section) {
    case "requests":
      return options.connections.map((connections) => ({ ...plain, connections }));
    // 64 requests at a time, as the main table's middle column has them.
    case "http2":
      return [{ ...plain, connections: 64 }];
    case "grpc":
      return [{ ...plain, path: "/bench.Echo/Unary", headers: GRPC_FIELDS, connections: 64 }];
    case "paced":
      return [{ ...plain, connections: PACED_CONNECTIONS }];
    case "bulk":
      return [{ ...plain, path: "/bulk", connections: 8 }];
    case "connections":
      return [{ ...plain, headers: ["Connection: close"], connections: 64 }];
  }
}

/**
 * The mean pause with which as many connections offer a little under half of what a chain carries without pauses: nobody knows
 * its latency at half load beforehand, which is short beside the pause and therefore left out.
 */
export function halfLoadPauseMs(perSecond: number): number {
  return Math.max(1, Math.round((PACED_CONNECTIONS * 1_000) / (perSecond / 2)));
}

export function runLoad(site: Site, running: RunningChain, load: Load, seconds: number): Promise<WrkResult> {
  const isHttp2 = load.section === "http2" || load.section === "grpc";
  return isHttp2
    ? runH2load(site, running.http2Port ?? 0, load, seconds)
    : runWrk(site, running.port ?? 0, load, seconds);
}

/**
 * Answers that the backend knows nothing of: a refusal. By gRPC one is HTTP 200, and h2load reads no trailers. What is under way
 * when a run ends reached the backend without an answer, so the difference says too few rather than too many.
 */
export function answeredByProxies({ requests, errors }: WrkResult, reached: number): number {
  return Math.max(0, requests - errors - reached);
}

const HTTP2_CONNECTIONS = 8;

/** As many requests at a time as the load has connections, on eight HTTP/2 connections. */
async function runH2load(site: Site, port: number, load: Load, seconds: number): Promise<WrkResult> {
  const streams = String(Math.max(1, load.connections / HTTP2_CONNECTIONS));
  const args = ["-c", String(HTTP2_CONNECTIONS), "-m", streams, "-D", String(Math.ceil(seconds))];
  for (const header of load.headers) args.push("-H", header);
  if (load.section === "grpc") args.push("-d", grpcMessage(site));
  const url = `http://127.0.0.1:${port}${load.path}`;
  return parseH2load(await output(site, "h2load", [...args, url]));
}

/** A message of 100 octets behind its five octets of prefix. */
function grpcMessage(site: Site): string {
  const file = join(site.children.directory, "message.grpc");
  writeFileSync(file, Buffer.concat([Buffer.of(0, 0, 0, 0, 100), Buffer.alloc(100, "m")]));
  return file;
}

async function output(site: Site, command: string, args: readonly string[]): Promise<string> {
  const started = site.children.start(site.cpu.load, command, [...args]);
  let text = "";
  started.process.stdout?.on("data", (chunk: Buffer) => {
    text += chunk.toString();
  });
  await new Promise((resolve) => started.process.once("close", resolve));
  return text + started.complaint();
}

async function runWrk(site: Site, port: number, load: Load, seconds: number): Promise<WrkResult> {
  const args = ["-t1", `-c${load.connections}`, `-d${seconds}s`, "--timeout", "10s", "--latency"];
  for (const header of load.headers) args.push("-H", header);
  if (load.meanPauseMs !== undefined) args.push("-s", pauseScript(site, load.meanPauseMs));
  return parseWrk(await output(site, "wrk", [...args, `http://127.0.0.1:${port}${load.path}`]));
}

/** Random pauses: with equal ones all connections fall into step and arrive as one burst. */
function pauseScript(site: Site, meanMs: number): string {
  const file = join(site.children.directory, "pause.lua");
  writeFileSync(file, `function delay() return math.random(0, ${2 * meanMs}) end\n`);
  return file;
}
