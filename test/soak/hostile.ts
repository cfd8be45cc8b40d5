// Longer than other files: a scenario, its run and its bars are read together.
/**
 * Thousands of ill-behaved callers at once, and how good ones fare meanwhile: `npm run soak:hostile -- [--only slowEgress]
 * [--scale 1]`. Every attacker runs in a process of its own; gateways and agents are real ones, started by `isthmus up`.
 */
import { createServer } from "node:http";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { rssMiB } from "../bench/proc.ts";
import { startDnsServer } from "../fakes/dns-server.ts";
import { alive, type Federation, startFederation } from "../fakes/federation.ts";
import { describeAnswer, requestOnce } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { type AttackOrder, type AttackReport, startAttack } from "./attackers.ts";
import { toolOptions } from "../tool-options.ts";

const HOST = "partner.example.com";
const CART = "cart.shop.svc.clusterset.local";
// Ten seconds and a tick of a second; and what an attacker needs to fill all buffers, and to hear of its end by a write.
const MAX_SLOW_MS = 16_000;
const MAX_P99_MS = 250;
const WARM_UP_MS = 5_000;
const RECOVERY_MS = 20_000;

interface Scenario {
  readonly about: string;
  readonly orders: (ports: Ports, scale: number) => readonly AttackOrder[];
  /** Of any one process, meanwhile. */
  readonly maxGrowthMiB: number;
  /** Every attacker must have been ended by us within this time. */
  readonly endsWithinMs?: number;
}

interface Ports {
  readonly cart: number;
  readonly host: number;
  readonly goodHost: number;
  readonly proxy: number;
  readonly tunnels: number;
}

const order = (
  attack: AttackOrder["attack"],
  port: number,
  host: string,
  count: number,
  seconds = 25,
): AttackOrder => ({
  attack,
  port,
  host,
  count: Math.ceil(count),
  seconds,
});

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  slowEgress: {
    about: "10,000 slow callers of an external host, all of one workload",
    // 20 KiB for each.
    maxGrowthMiB: 200,
    endsWithinMs: MAX_SLOW_MS,
    orders: ({ host, proxy }, scale) => [
      order("slowHead", host, "localhost", 4_000 * scale),
      order("slowBody", host, "localhost", 1_000 * scale),
      order("slowHead", proxy, HOST, 5_000 * scale),
    ],
  },
  slowMesh: {
    about: "2,000 slow callers of a service",
    // Who does not read holds a stream's window of 1 MiB, and what the kernel takes.
    maxGrowthMiB: 200,
    endsWithinMs: MAX_SLOW_MS,
    orders: ({ cart }, scale) => [
      order("slowHead", cart, CART, 1_000 * scale),
      order("slowBody", cart, CART, 900 * scale),
      order("slowRead", cart, CART, 100 * scale),
    ],
  },
  rapidReset: {
    about: "200 connections that reset streams as fast as they open them",
    maxGrowthMiB: 64,
    endsWithinMs: 10_000,
    orders: ({ cart }, scale) => [
      order("rapidReset", cart, CART, 100 * scale, 12),
      order("rapidReset", cart, CART, 100 * scale, 12),
    ],
  },
  handshakes: {
    about: "handshakes without a certificate and halves of them, at the tunnel port",
    maxGrowthMiB: 64,
    orders: ({ tunnels }, scale) => [
      order("handshakes", tunnels, CART, 50 * scale, 12),
      order("halfHello", tunnels, CART, 2_000 * scale, 12),
    ],
  },
};

async function main(): Promise<number> {
  const { only, scale, agents } = toolOptions("npm run soak:hostile --", {
    only: ["all", ...Object.keys(SCENARIOS)],
    scale: 1,
    agents: ["true", "false"],
  });
  const names = only === "all" ? Object.keys(SCENARIOS) : [only];
  const dns = await startDnsServer(3600);
  dns.answer(HOST, ["127.0.0.1"]);
  const big = Buffer.alloc(16 * 1024 * 1024);
  const backend = createServer((request, response) => {
    request.on("error", () => {}).resume();
    response.end(request.url === "/big" ? big : "ok");
  });
  await new Promise<void>((resolve) => backend.listen(0, "127.0.0.1", resolve));
  const { port } = backend.address() as AddressInfo;
  const federation = await startFederation(documents(port, agents === "true"), undefined, {
    ISTHMUS_DNS_SERVERS: dns.address,
  });
  try {
    const ports = await portsOf(federation, port);
    let holds = true;
    for (const name of names) holds = (await run(federation, ports, name, scale)) && holds;
    return holds ? 0 : 1;
  } finally {
    await federation.stop();
    backend.closeAllConnections();
    backend.close();
    await dns.stop();
  }
}

function documents(port: number, agents: boolean): object[] {
  const apiVersion = "isthmus.dev/v1alpha1";
  const service = { name: "cart", port: 80, protocol: "http", endpoints: [`127.0.0.1:${port}`] };
  const external = { hostname: HOST, cidr: "127.0.0.1/32", ports: [port], protocol: "http" };
  return [
    {
      apiVersion,
      kind: "LocalFederation",
      metadata: { name: "soak.mesh" },
      spec: {
        clusters: [
          { name: "east", agents, workloads: [{ namespace: "shop", name: "cart", services: [service] }] },
          {
            name: "west",
            agents,
            workloads: [
              { namespace: "shop", name: "web" },
              { namespace: "shop", name: "batch" },
            ],
          },
        ],
      },
    },
    {
      apiVersion,
      kind: "ServiceExport",
      metadata: { cluster: "east", namespace: "shop", name: "cart" },
      spec: { consumers: [{ cluster: "west" }] },
    },
    {
      apiVersion,
      kind: "ServiceImport",
      metadata: { cluster: "west", namespace: "shop", name: "cart" },
      spec: { from: { cluster: "east" } },
    },
    {
      apiVersion,
      kind: "EgressPolicy",
      metadata: { cluster: "west", name: "all" },
      spec: {
        mode: "enforce",
        from: [{ cluster: "west" }],
        to: [{ service: { namespace: "shop", name: "cart" } }, external],
      },
    },
  ];
}

/** The attackers' ways are those of `web`. */
async function portsOf(federation: Federation, backendPort: number): Promise<Ports> {
  const book = join(federation.directory, "state", "clusters", "west", "addresses.json");
  const find = (key: string) =>
    until(`${key} has an address`, 30_000, () => {
      const entries = JSON.parse(readFileSync(book, "utf8")) as Record<string, string>;
      return Number(entries[key]?.split(":").at(-1)) || undefined;
    });
  const hostWay = await find(`ns/shop/sa/web address:${HOST} ${backendPort}`);
  return {
    cart: federation.address("web").port,
    host: hostWay,
    goodHost: await find(`ns/shop/sa/batch address:${HOST} ${backendPort}`),
    proxy: await find("ns/shop/sa/web proxy:proxy 3128"),
    tunnels: federation.listening({ role: "gateway", cluster: "west" }).port,
  };
}

async function run(federation: Federation, ports: Ports, name: string, scale: number): Promise<boolean> {
  const scenario = SCENARIOS[name];
  if (scenario === undefined) return false;
  process.stdout.write(`\n${scenario.about}\n`);
  const { processes } = federation.ready;
  const rss = () => processes.map(({ pid }) => rssMiB(pid));
  await goodCaller(federation, ports, () => sleep(WARM_UP_MS));
  const before = rss();
  const peak = [...before];
  const idle = await goodCaller(federation, ports, () => sleep(4_000));
  const sampler = setInterval(() => {
    for (const [index, now] of rss().entries()) peak[index] = Math.max(peak[index] ?? 0, now);
  }, 500);
  let reports: readonly AttackReport[] = [];
  const during = await goodCaller(federation, ports, async () => {
    reports = await startAttack(scenario.orders(ports, scale));
  });
  clearInterval(sampler);
  await sleep(RECOVERY_MS);
  const after = rss();
  const since = (values: readonly number[]) => values.map((value, index) => value - (before[index] ?? 0));
  const grown = Math.max(...since(peak));
  const kept = Math.max(...since(after));
  const most = processes[since(peak).indexOf(grown)];
  const opened = reports.reduce((sum, report) => sum + report.opened, 0);
  const ended = reports.reduce((sum, report) => sum + report.ended, 0);
  const longest = Math.max(...reports.map(({ longestMs }) => longestMs));
  process.stdout.write(
    `  ${opened} opened, ${ended} of them ended by us, the last after ${(longest / 1_000).toFixed(1)} s; answers ${JSON.stringify(reports.map(({ answers }) => answers))}\n`,
  );
  process.stdout.write(
    `  good callers, alone: ${describe(idle)}\n  good callers, during: ${describe(during)}\n`,
  );
  process.stdout.write(
    `  RSS: +${grown.toFixed(0)} MiB at most (${most?.cluster} ${most?.role}), +${kept.toFixed(0)} MiB ${RECOVERY_MS / 1_000} s later\n`,
  );
  const bars: readonly (readonly [what: string, holds: boolean])[] = [
    ["no good request failed", during.failed.length === 0],
    [`p99 of good callers at most ${MAX_P99_MS} ms`, during.p99 <= MAX_P99_MS],
    [`every process grew by at most ${scenario.maxGrowthMiB} MiB`, grown <= scenario.maxGrowthMiB],
    ["no process ended", processes.every(({ pid }) => alive(pid))],
  ];
  const limit = scenario.endsWithinMs;
  const all =
    limit === undefined
      ? bars
      : [...bars, [`all were ended within ${limit / 1_000} s`, ended >= opened && longest <= limit] as const];
  for (const [what, holds] of all) process.stdout.write(`  ${holds ? "holds" : "FALLS SHORT"}: ${what}\n`);
  return all.every(([, holds]) => holds);
}

interface Good {
  readonly requests: number;
  readonly p50: number;
  readonly p99: number;
  readonly failed: readonly string[];
}

/** Calls service and host as the other workload does, each on a new connection, while `meanwhile` runs. */
async function goodCaller(
  federation: Federation,
  ports: Ports,
  meanwhile: () => Promise<unknown>,
): Promise<Good> {
  const times: number[] = [];
  const failed: string[] = [];
  let running = true;
  const call = async (port: number, host: string) => {
    while (running) {
      const began = performance.now();
      const answer = await requestOnce({ host: "127.0.0.1", port }, { host });
      times.push(performance.now() - began);
      if (describeAnswer(answer) !== "200") failed.push(describeAnswer(answer));
      await sleep(10);
    }
  };
  const callers = [
    call(federation.address("batch").port, CART),
    call(ports.goodHost, "localhost"),
    // The attackers' own workload: its good requests stand in the same queues.
    call(ports.cart, CART),
  ];
  await meanwhile();
  running = false;
  await Promise.all(callers);
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(times.length * share)] ?? 0;
  return { requests: times.length, p50: at(0.5), p99: at(0.99), failed };
}

function describe({ requests, p50, p99, failed }: Good): string {
  return `${requests} requests, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms, failed ${failed.length} ${[...new Set(failed)].join(", ")}`;
}

process.exitCode = await main();
