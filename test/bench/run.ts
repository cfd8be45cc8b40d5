import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus, loadavg, release } from "node:os";
import { makeCertificates } from "./certificates.ts";
import type { Chain, Site } from "./chain.ts";
import { Children, isInstalled } from "./children.ts";
import { runLoad } from "./load.ts";
import { type ActiveChain, measureSection, rssOfHops, type Sample } from "./measure.ts";
import { type Options, parseOptions, USAGE, UsageError } from "./options.ts";
import { HAPROXY_CHAINS } from "./peers/haproxy.ts";
import { ISTHMUS_CHAINS } from "./peers/isthmus.ts";
import { NGINX_CHAINS, startBackend } from "./peers/nginx.ts";
import { type Report, render } from "./report.ts";
import { judge, summarize } from "./summary.ts";

const CHAINS: readonly Chain[] = [...ISTHMUS_CHAINS, ...NGINX_CHAINS, ...HAPROXY_CHAINS];

// Long enough for V8 to optimize the path of a request; the C peers do not need it and get it too.
const FIRST_LOAD_SECONDS = 3;

type Skipped = Report["skipped"][number];

async function main(args: readonly string[]): Promise<number> {
  const options = parseOptions(args);
  if (options === "help") {
    process.stdout.write(USAGE);
    return 0;
  }
  const absent = ["wrk", "nginx", "openssl"].filter((tool) => !isInstalled(tool));
  if (process.platform !== "linux" || absent.length > 0) {
    // nginx is the backend too, so without it there is nothing to measure.
    process.stderr.write(
      `error: the bench needs Linux with wrk, nginx and openssl; absent: ${absent.join(", ") || "Linux"}\n`,
    );
    process.stderr.write("fix: apt-get install wrk nginx-light haproxy openssl\n");
    return 69;
  }
  const children = new Children();
  return children.during(() => bench(options, children));
}

async function bench(options: Options, children: Children): Promise<number> {
  const machine = describeMachine(options);
  const site = await prepare(options, children);
  const wanted = CHAINS.filter(
    ({ id }) => options.only.length === 0 || options.only.some((prefix) => id.startsWith(prefix)),
  );
  const { active, skipped } = await startChains(site, wanted);
  const samples: Sample[] = [];
  for (const section of options.sections)
    samples.push(...(await measureSection(site, section, active, options, progress)));
  const rows = summarize(samples, CHAINS);
  const bars = judge(rows);
  const memory = active.map(({ chain, running }) => ({ chain: chain.id, rssMiB: rssOfHops(running) }));
  const report: Report = { machine, chains: CHAINS, skipped, rows, memory, bars, rounds: options.rounds };
  process.stdout.write(render(report));
  if (options.json !== undefined) {
    writeFileSync(
      options.json,
      `${JSON.stringify({ machine, options, skipped, rows, memory, bars, samples }, null, 2)}\n`,
    );
  }
  return options.assert && bars.some((bar) => bar.verdict !== "holds") ? 1 : 0;
}

async function prepare(options: Options, children: Children): Promise<Site> {
  // One core cannot be divided, and without taskset the kernel decides; the figures then include the wandering.
  const pinned = cpus().length > 1 && isInstalled("taskset");
  const cpu = pinned
    ? { load: options.loadCpu, proxies: options.proxyCpu }
    : { load: undefined, proxies: undefined };
  const certificates = makeCertificates(children.directory);
  const { port, http2Port } = await startBackend({ children, certificates, cpu });
  return { children, certificates, cpu, backendPort: port, backendHttp2Port: http2Port };
}

async function startChains(
  site: Site,
  wanted: readonly Chain[],
): Promise<{ active: ActiveChain[]; skipped: Skipped[] }> {
  const active: ActiveChain[] = [];
  const skipped: Skipped[] = [];
  for (const chain of wanted) {
    progress(`starting ${chain.id}`);
    const reason = chain.missing() ?? (await tryStart(site, chain, active));
    if (reason !== undefined) skipped.push({ id: chain.id, reason });
  }
  return { active, skipped };
}

/** Answers why the chain is left out: one that cannot start, or fails its first requests, must not stop the others. */
async function tryStart(site: Site, chain: Chain, active: ActiveChain[]): Promise<string | undefined> {
  try {
    const running = await chain.start(site);
    const section = running.port === undefined ? "http2" : "requests";
    const first = { section, connections: 256, path: "/", headers: [] } as const;
    const { requests, errors } = await runLoad(site, running, first, FIRST_LOAD_SECONDS);
    if (errors > 0 || requests === 0) return `${errors} of its first ${requests} requests failed`;
    active.push({ chain, running });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function describeMachine(options: Options): string[] {
  const version = (command: string, ...args: string[]): string => {
    if (!isInstalled(command)) return `${command} absent`;
    return (
      execFileSync("sh", ["-c", `PATH=$PATH:/usr/sbin ${command} ${args.join(" ")} 2>&1`], {
        encoding: "utf8",
      }).split("\n")[0] ?? ""
    );
  };
  return [
    `${cpus().length} x ${cpus()[0]?.model ?? "unknown"}, Linux ${release()}, load average ${loadavg()[0]?.toFixed(2)} at the start`,
    `Node ${process.version}; ${version("nginx", "-v")}; ${version("haproxy", "-v")}`,
    `wrk and backend on core ${options.loadCpu}, every process of a chain on core ${options.proxyCpu}; ${options.rounds} x ${options.seconds} s each`,
  ];
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${text}`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`error: ${error.message}\n\n${USAGE}`);
  process.exitCode = 64;
}
