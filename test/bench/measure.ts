import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Chain, Hop, RunningChain, Site } from "./chain.ts";
import type { Options, Section } from "./options.ts";
import { busyMicros, descendants, readAllStats, readStat, rssMiB } from "./proc.ts";
import { parseH2load } from "./h2load.ts";
import { parseWrk, type WrkResult } from "./wrk.ts";

export interface Load {
  readonly section: Section;
  readonly connections: number;
  readonly path: string;
  readonly headers: readonly string[];
  /** Mean pause of each connection between two requests. */
  readonly meanPauseMs?: number;
}

interface Measured {
  readonly requests: number;
  readonly seconds: number;
  /** Of each hop with its workers, in path order. */
  readonly hopMicros: readonly number[];
  readonly asideMicros: number;
  /** What anything else used of the proxies' core, time stolen by the hypervisor included. */
  readonly otherMicros: number;
}

export interface Sample extends Measured {
  readonly chain: string;
  readonly section: Section;
  readonly connections: number;
  readonly round: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly errors: number;
}

export interface ActiveChain {
  readonly chain: Chain;
  readonly running: RunningChain;
}

// At both ends of a run connections are opened and closed; the window of measurement keeps off them.
const EDGE_SECONDS = 0.5;

// V8 optimizes what runs often; a kind of load that is new to a chain gets time for it. Every chain gets the same.
const FIRST_WARM_UP_SECONDS = 3;

// 64 connections that pause 16 ms on average offer a little under 4,000 requests a second: a load every chain can carry.
const PACED = { connections: 64, meanPauseMs: 16 };

const GRPC_FIELDS = ["content-type: application/grpc", "te: trailers", "grpc-timeout: 10S"];

/** What one section puts on a chain; the main table has one load per number of connections. */
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
      return [{ ...plain, ...PACED }];
    case "bulk":
      return [{ ...plain, path: "/bulk", connections: 8 }];
    case "connections":
      return [{ ...plain, headers: ["Connection: close"], connections: 64 }];
  }
}

/** Interleaved: a disturbance of the machine meets all chains of a round, and ratios are taken within a round. */
export async function measureSection(
  site: Site,
  section: Section,
  chains: readonly ActiveChain[],
  options: Options,
  progress: (text: string) => void,
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const isHttp2 = section === "http2" || section === "grpc";
  const eligible = chains.filter(({ chain, running }) =>
    isHttp2
      ? running.http2Port !== undefined
      : running.port !== undefined && (chain.http || section !== "connections"),
  );
  for (let round = 0; round < options.rounds; round++) {
    for (const load of loadsOf(section, options)) {
      // Every other round runs backwards, so that no chain always follows the same neighbour.
      for (const active of round % 2 === 0 ? eligible : eligible.toReversed()) {
        progress(
          `${section} · round ${round + 1}/${options.rounds} · ${load.connections} connections · ${active.chain.id}`,
        );
        samples.push(await measureOnce(site, active, load, round, options));
      }
    }
  }
  return samples;
}

/**
 * One warm-up fills the pools of upstream connections; then CPU and requests are read over a window inside a second run,
 * so that neither setting connections up nor tearing them down is in the figure. Requests are counted by the backend.
 */
async function measureOnce(
  site: Site,
  { chain, running }: ActiveChain,
  load: Load,
  round: number,
  options: Options,
): Promise<Sample> {
  const warmUp = round === 0 ? Math.max(FIRST_WARM_UP_SECONDS, options.warmUpSeconds) : options.warmUpSeconds;
  await runLoad(site, running, load, warmUp);
  const families = running.hops.map(family);
  const underLoad = runLoad(site, running, load, options.seconds + 2 * EDGE_SECONDS);
  const window = async (): Promise<Measured> => {
    await sleep(EDGE_SECONDS * 1000);
    const before = await reading(site, running, families);
    await sleep(options.seconds * 1000);
    return difference(before, await reading(site, running, families));
  };
  const [result, measured] = await Promise.all([underLoad, window()]);
  const { section, connections } = load;
  const { p50Ms, p99Ms, errors } = result;
  return { ...measured, chain: chain.id, section, connections, round, p50Ms, p99Ms, errors };
}

interface Reading {
  readonly atMs: number;
  readonly requests: number;
  readonly hops: readonly number[];
  readonly aside: number;
  readonly core: number;
}

async function reading(site: Site, running: RunningChain, families: readonly number[][]): Promise<Reading> {
  const requests = await countRequests(site.backendPort);
  return {
    atMs: performance.now(),
    requests,
    hops: families.map(cpuMicros),
    aside: cpuMicros(running.aside.map((hop) => hop.pid)),
    core: site.cpu.proxies === undefined ? 0 : busyMicros(site.cpu.proxies),
  };
}

function difference(from: Reading, to: Reading): Measured {
  const hopMicros = to.hops.map((micros, index) => micros - (from.hops[index] ?? 0));
  const asideMicros = to.aside - from.aside;
  const own = hopMicros.reduce((sum, micros) => sum + micros, asideMicros);
  return {
    // Reading the count at the end was itself a request.
    requests: to.requests - from.requests - 1,
    seconds: (to.atMs - from.atMs) / 1000,
    hopMicros,
    asideMicros,
    otherMicros: Math.max(0, to.core - from.core - own),
  };
}

async function countRequests(backendPort: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${backendPort}/count`);
  // " accepts handled requests\n 12 12 345 \n": the third figure.
  const counts = /^\s*\d+ \d+ (\d+)\s*$/m.exec(await response.text());
  if (counts === null) throw new Error("the backend gave no count of its requests");
  return Number(counts[1]);
}

/** A hop's process and its workers: nginx serves from a child. */
function family(hop: Hop): number[] {
  return descendants(readAllStats(), [hop.pid]);
}

function cpuMicros(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => {
    const stat = readStat(pid);
    // A process that ended takes its count along; carrying on would flatter its chain.
    if (stat === undefined) throw new Error(`process ${pid} of a chain ended during the measurement`);
    return sum + stat.cpuMicros;
  }, 0);
}

export function rssOfHops(running: RunningChain): number[] {
  return running.hops.map((hop) => family(hop).reduce((sum, pid) => sum + rssMiB(pid), 0));
}

export function runLoad(site: Site, running: RunningChain, load: Load, seconds: number): Promise<WrkResult> {
  const isHttp2 = load.section === "http2" || load.section === "grpc";
  return isHttp2
    ? runH2load(site, running.http2Port ?? 0, load, seconds)
    : runWrk(site, running.port ?? 0, load, seconds);
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
