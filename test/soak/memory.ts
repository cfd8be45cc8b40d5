import { setTimeout as sleep } from "node:timers/promises";
import { makeCertificates } from "../bench/certificates.ts";
import type { Hop, RunningChain, Site } from "../bench/chain.ts";
import { Children, isInstalled } from "../bench/children.ts";
import { runLoad } from "../bench/load.ts";
import { startIsthmus } from "../bench/peers/isthmus.ts";
import { startBackend } from "../bench/peers/nginx.ts";
import { rssMiB } from "../bench/proc.ts";
import { table } from "../bench/report.ts";
import type { WrkResult } from "../bench/wrk.ts";
import { openIdleConnections } from "./idle-connections.ts";
import { type Point, slope } from "./trend.ts";
import { toolOptions } from "../tool-options.ts";

const MAX_RSS_MIB = 110;
// V8's heap breathes by a few MiB; a leak of one byte for every request at 10,000 requests/s would show as 0.6 MiB/min.
const MAX_GROWTH_MIB_PER_MINUTE = 0.5;

// Code gets optimized and pools fill in the first fifth; growth there is expected and ends.
const WARM_UP_SHARE = 0.2;
const SAMPLE_EVERY_MS = 2000;
const IDLE_SECONDS = 15;

// Sixty of the 64 connections last; four are new for every request, because what leaks is most often a closed connection.
const LOADS = [
  { section: "requests", connections: 60, path: "/", headers: [] },
  { section: "connections", connections: 4, path: "/", headers: ["Connection: close"] },
] as const;

interface Watched {
  readonly hop: Hop;
  readonly idleMiB: number;
  readonly points: readonly Point[];
}

async function main(): Promise<number> {
  const { minutes, idle } = toolOptions("npm run soak --", { minutes: 10, idle: 1_000 });
  const absent = ["wrk", "nginx", "openssl"].filter((tool) => !isInstalled(tool));
  if (process.platform !== "linux" || absent.length > 0) {
    process.stderr.write(
      `error: the soak needs Linux with wrk, nginx and openssl; absent: ${absent.join(", ") || "Linux"}\n`,
    );
    return 69;
  }
  const children = new Children();
  return children.during(() => soak(children, minutes, idle));
}

async function soak(children: Children, minutes: number, idle: number): Promise<number> {
  const certificates = makeCertificates(children.directory);
  const cpu = { load: undefined, proxies: undefined };
  const { port, http2Port } = await startBackend({ children, certificates, cpu });
  const site = { children, certificates, cpu, backendPort: port, backendHttp2Port: http2Port };
  const running = await startIsthmus(site, "soak", true);
  const processes = [...running.hops, ...running.aside];

  const { rss, lost } = await holdIdle(running, processes, idle);
  const series = processes.map((): Point[] => []);
  const results = await loadAndSample(site, running, minutes, () => {
    for (const [index, hop] of processes.entries()) {
      series[index]?.push({ x: performance.now() / 60_000, y: rssMiB(hop.pid) });
    }
  });
  const watched = processes.map((hop, index) => ({
    hop,
    idleMiB: rss[index] ?? 0,
    points: series[index] ?? [],
  }));
  return report(watched, results, { minutes, idle, lost });
}

async function holdIdle(
  running: RunningChain,
  processes: readonly Hop[],
  count: number,
): Promise<{ rss: number[]; lost: number }> {
  const idle = await openIdleConnections(running.port ?? 0, count);
  await sleep(IDLE_SECONDS * 1000);
  const rss = processes.map((hop) => rssMiB(hop.pid));
  const lost = idle.lost();
  idle.close();
  return { rss, lost };
}

async function loadAndSample(
  site: Site,
  running: RunningChain,
  minutes: number,
  sample: () => void,
): Promise<WrkResult[]> {
  const timer = setInterval(sample, SAMPLE_EVERY_MS);
  try {
    const seconds = Math.ceil(minutes * 60);
    return await Promise.all(LOADS.map((load) => runLoad(site, running, load, seconds)));
  } finally {
    clearInterval(timer);
  }
}

interface Facts {
  readonly minutes: number;
  readonly idle: number;
  readonly lost: number;
}

function report(watched: readonly Watched[], results: readonly WrkResult[], facts: Facts): number {
  const rows = watched.map(({ hop, idleMiB, points }) => {
    const settled = points.slice(Math.floor(points.length * WARM_UP_SHARE));
    const growth = slope(settled);
    const highest = Math.max(idleMiB, ...points.map((point) => point.y));
    const holds = idleMiB > 0 && highest < MAX_RSS_MIB && growth <= MAX_GROWTH_MIB_PER_MINUTE;
    const figures = [idleMiB, settled[0]?.y ?? 0, settled.at(-1)?.y ?? 0, highest].map((value) =>
      value.toFixed(1),
    );
    return { holds, cells: [hop.name, ...figures, growth.toFixed(3), holds ? "holds" : "falls short"] };
  });
  const requests = results.reduce((sum, result) => sum + result.requests, 0);
  const errors = results.reduce((sum, result) => sum + result.errors, 0);
  const head = ["RSS, MiB", `${facts.idle} idle`, "warm", "last", "highest", "MiB/min", ""];
  process.stdout.write(table([head, ...rows.map((row) => row.cells)]));
  process.stdout.write(
    `\n${facts.minutes} min at 64 connections: ${requests} requests, ${errors} failed; ${facts.lost} of ${facts.idle} idle connections lost\n`,
  );
  process.stdout.write(
    `Bars: under ${MAX_RSS_MIB} MiB at all times, at most ${MAX_GROWTH_MIB_PER_MINUTE} MiB/min\n`,
  );
  return rows.every((row) => row.holds) && errors === 0 && facts.lost === 0 ? 0 : 1;
}

process.exitCode = await main();
