import { setTimeout as sleep } from "node:timers/promises";
import type { Chain, Hop, RunningChain, Site } from "./chain.ts";
import {
  answeredByProxies,
  halfLoadPauseMs,
  type Load,
  loadsOf,
  PACED_CONNECTIONS,
  runLoad,
} from "./load.ts";
import type { Options, Section } from "./options.ts";
import { countRequests } from "./peers/nginx.ts";
import { busyMicros, descendants, readAllStats, readStat, rssMiB } from "./proc.ts";

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
  const pausesMs = section === "paced" ? await pausesOf(site, eligible, progress) : undefined;
  for (let round = 0; round < options.rounds; round++) {
    for (const load of loadsOf(section, options)) {
      // Every other round runs backwards, so that no chain always follows the same neighbour.
      for (const active of round % 2 === 0 ? eligible : eligible.toReversed()) {
        progress(
          `${section} · round ${round + 1}/${options.rounds} · ${load.connections} connections · ${active.chain.id}`,
        );
        const meanPauseMs = pausesMs?.get(active.chain.hops);
        const paced = meanPauseMs === undefined ? load : { ...load, meanPauseMs };
        samples.push(await measureOnce(site, active, paced, round, options));
      }
    }
  }
  return samples;
}

/**
 * By the number of hops, the pauses with which a load is half of what nginx carries over as many (where it does not take part,
 * of what the first chain does): all chains of a length get the same.
 */
async function pausesOf(
  site: Site,
  chains: readonly ActiveChain[],
  progress: (text: string) => void,
): Promise<ReadonlyMap<number, number>> {
  const pauses = new Map<number, number>();
  for (const [hops, alike] of Map.groupBy(chains, ({ chain }) => chain.hops)) {
    const yardstick = alike.find(({ chain }) => chain.peer === "nginx") ?? alike[0];
    if (yardstick === undefined) continue;
    progress(`paced · what ${yardstick.chain.id} carries`);
    const load = { section: "requests", connections: PACED_CONNECTIONS, path: "/", headers: [] } as const;
    const { requests, seconds } = await runLoad(site, yardstick.running, load, FIRST_WARM_UP_SECONDS);
    pauses.set(hops, halfLoadPauseMs(requests / seconds));
  }
  return pauses;
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
  const before = await countRequests(site.backendPort);
  const underLoad = runLoad(site, running, load, options.seconds + 2 * EDGE_SECONDS);
  const window = async (): Promise<Measured> => {
    await sleep(EDGE_SECONDS * 1000);
    const from = await reading(site, running, families);
    await sleep(options.seconds * 1000);
    return difference(from, await reading(site, running, families));
  };
  const [result, measured] = await Promise.all([underLoad, window()]);
  const { section, connections } = load;
  // Two readings were requests themselves, and the one here.
  const reached = (await countRequests(site.backendPort)) - before - 3;
  const { p50Ms, p99Ms } = result;
  const errors = result.errors + answeredByProxies(result, reached);
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
