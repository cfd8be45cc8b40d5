/**
 * What mirroring costs the requests that are copied: `npm run bench:mirror -- [--agents] [--rounds 5] [--seconds 3]`.
 *
 * CPU: one service without a mirror, the same with 10 % and with 100 % of its requests copied to another, all in one federation
 * and in interleaved rounds. All that is mirrored is served by the same processes, so a copy costs what a request costs; what
 * mirroring adds to the original path is what is left of the CPU time when each copy is counted as one request more.
 * Latency: the same offered load, with a target of copies that is well, slow, stalled (it reads nothing) or dead; `control` is a
 * service without a mirror while as many other requests run beside it as there were copies.
 */
import { createServer, type Server, type Socket } from "node:net";
import { cpus } from "node:os";
import { makeCertificates } from "./certificates.ts";
import type { Site } from "./chain.ts";
import { freePorts } from "../fakes/free-ports.ts";
import { Children, complainOfAbsent } from "./children.ts";
import { type Load, runLoad } from "./load.ts";
import { federationYaml } from "./peers/federation-yaml.ts";
import { type RunningFederation, startFederation } from "./peers/isthmus.ts";
import { countRequests, startBackend } from "./peers/nginx.ts";
import { familyMicros } from "./proc.ts";
import { median } from "./summary.ts";
import { toolOptions } from "../tool-options.ts";
import type { WrkResult } from "./wrk.ts";

const CONNECTIONS = 64;
const WARM_UP_SECONDS = 3;
/** Adds at most so much to the CPU time of the original path. */
const CPU_BAR = 1.05;
// 64 connections that pause 32 ms on average: a little under 2,000 requests a second, so that copies of all of them fit beside.
const PAUSE_MS = 32;
const SLOW_MS = 1_000;

interface Mirrored {
  readonly name: string;
  /** The service that gets the copies. */
  readonly to?: string;
  readonly percent?: number;
}

const SERVICES: readonly Mirrored[] = [
  { name: "plain" },
  { name: "tenth", to: "shadow", percent: 10 },
  { name: "whole", to: "shadow", percent: 100 },
  { name: "toslow", to: "slow", percent: 100 },
  { name: "tostalled", to: "stalled", percent: 100 },
  { name: "todead", to: "dead", percent: 100 },
];

interface Targets {
  readonly backend: number;
  readonly http2Backend: number;
  readonly slow: number;
  readonly stalled: number;
  readonly dead: number;
}

function yaml(agents: boolean, targets: Targets): string {
  const { backend, http2Backend, ...others } = targets;
  const ports = new Map<string, number>(Object.entries(others));
  for (const name of [...SERVICES.map((service) => service.name), "shadow"])
    ports.set(name, backend).set(`${name}2`, http2Backend);
  const routes = ["", "2"].flatMap((suffix) => SERVICES.map((service) => routeOf(service, suffix)));
  return federationYaml(agents, Object.fromEntries(ports)) + routes.join("");
}

/** Every service has a route of one rule, so that the mirror is all that differs. */
function routeOf({ name, to, percent }: Mirrored, suffix: string): string {
  // The slow, stalled and dead ones take both versions of HTTP: what they are sent does not matter.
  const target = to === "shadow" ? `${to}${suffix}` : to;
  const filters =
    target === undefined
      ? ""
      : `\n      filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: ${target} }, percent: ${percent} } }]`;
  return `---
apiVersion: isthmus.dev/v1alpha1
kind: TrafficRoute
metadata: { cluster: west, namespace: shop, name: ${name}${suffix} }
spec:
  parentRefs: [{ name: ${name}${suffix} }]
  rules:
    - name: all${filters}
`;
}

/** Answers every request after a second; counts nothing, since nobody reads what it says. */
function slowServer(): Server {
  const answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
  return createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => setTimeout(() => !socket.destroyed && socket.write(answer), SLOW_MS));
  });
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

interface Bench {
  readonly site: Site;
  readonly federation: RunningFederation;
  readonly seconds: number;
  readonly rounds: number;
}

const cpuMicros = ({ hops }: RunningFederation): number => familyMicros(hops.map(({ pid }) => pid));

function run(bench: Bench, service: string, load: Load, seconds = bench.seconds): Promise<WrkResult> {
  const { site, federation } = bench;
  const port = federation.portOf(service);
  return runLoad(site, { port, http2Port: port, hops: [], aside: [] }, load, seconds);
}

interface Cost {
  /** Per original request, with its copies. */
  readonly each: number;
  /** Per request that arrived, be it an original or a copy. */
  readonly carried: number;
  readonly copies: number;
}

async function cost(bench: Bench, service: string, load: Load): Promise<Cost> {
  const [cpu, count] = [cpuMicros(bench.federation), await countRequests(bench.site.backendPort)];
  const { requests: originals, errors } = await run(bench, service, load);
  if (errors > 0) process.stdout.write(`${service}: ${errors} of ${originals} requests failed\n`);
  const spent = cpuMicros(bench.federation) - cpu;
  const arrived = (await countRequests(bench.site.backendPort)) - count - 1;
  return { each: spent / originals, carried: spent / arrived, copies: (arrived - originals) / originals };
}

/** Answers whether the bar holds. */
async function compareCost(bench: Bench, protocol: string, load: Load, suffix: string): Promise<boolean> {
  const names = ["plain", "tenth", "whole"].map((name) => name + suffix);
  for (const name of names) await run(bench, name, load, WARM_UP_SECONDS);
  const all = new Map(names.map((name) => [name, [] as Cost[]]));
  for (let round = 0; round < bench.rounds; round++)
    for (const name of round % 2 === 0 ? names : names.toReversed())
      all.get(name)?.push(await cost(bench, name, load));
  const plain = all.get(names[0] ?? "") ?? [];
  let holds = true;
  for (const [name, costs] of all) {
    const ratios = costs.map(({ carried }, round) => carried / (plain[round]?.carried ?? Number.NaN));
    const added = costs.map(
      ({ each, copies }, round) => each / (plain[round]?.each ?? Number.NaN) - 1 - copies,
    );
    const [ratio, extra] = [median(ratios), median(added)];
    holds &&= extra <= CPU_BAR - 1;
    const copies = median(costs.map((one) => one.copies * 100)).toFixed(1);
    const micros = [median(costs.map(({ each }) => each)), median(costs.map(({ carried }) => carried))];
    process.stdout.write(
      `${protocol} ${name}: ${copies} % copied, ${micros.map((one) => one.toFixed(1)).join(" µs/original, ")} µs/request carried ` +
        `(${ratio.toFixed(3)} of plain); added to the original ${(extra * 100).toFixed(1)} %\n`,
    );
  }
  return holds;
}

async function compareLatency(bench: Bench, protocol: string, load: Load, suffix: string): Promise<void> {
  const rows = new Map<string, { p50: number[]; p99: number[]; errors: number }>();
  const measure = async (label: string, service: string, beside?: string): Promise<void> => {
    const other = beside === undefined ? undefined : run(bench, beside, load);
    const { p50Ms, p99Ms, errors } = await run(bench, service, load);
    await other;
    const row = rows.get(label) ?? { p50: [], p99: [], errors: 0 };
    row.p50.push(p50Ms);
    row.p99.push(p99Ms);
    row.errors += errors;
    rows.set(label, row);
  };
  for (let round = 0; round < bench.rounds; round++) {
    await measure("no mirror", `plain${suffix}`);
    await measure("no mirror, as many others beside (control)", `plain${suffix}`, `shadow${suffix}`);
    for (const { name, to, percent } of SERVICES)
      if (to !== undefined) await measure(`${percent} % to ${to}`, name + suffix);
  }
  for (const [label, { p50, p99, errors }] of rows)
    process.stdout.write(
      `${protocol} ${label}: p50 ${median(p50).toFixed(2)} ms, p99 ${median(p99).toFixed(2)} ms, ${errors} errors\n`,
    );
}

async function main(): Promise<number> {
  if (
    complainOfAbsent(
      ["wrk", "h2load", "nginx", "openssl", "taskset"],
      "wrk nghttp2-client nginx-light openssl",
    )
  )
    return 69;
  const { agents, rounds, seconds, ...skip } = toolOptions("npm run bench:mirror --", {
    agents: false,
    rounds: 5,
    seconds: 3,
    "no-latency": false,
  });
  const children = new Children();
  const stalled = createServer((socket: Socket) => void socket.pause().on("error", () => {}));
  const slow = slowServer();
  return children.during(async () => {
    const cpu = { load: 0, proxies: cpus().length > 1 ? 1 : 0 };
    const certificates = makeCertificates(children.directory);
    const { port, http2Port } = await startBackend({ children, certificates, cpu });
    const site: Site = { children, certificates, cpu, backendPort: port, backendHttp2Port: http2Port };
    const [dead = 9] = await freePorts(1);
    const targets = {
      backend: port,
      http2Backend: http2Port,
      dead,
      slow: await listen(slow),
      stalled: await listen(stalled),
    };
    const federation = await startFederation(site, "mirror", yaml(agents, targets));
    const bench = { site, federation, rounds, seconds };
    const http1: Load = { section: "requests", connections: CONNECTIONS, path: "/", headers: [] };
    const http2: Load = { ...http1, section: "http2" };
    const verdicts = [
      await compareCost(bench, "HTTP/1.1", http1, ""),
      await compareCost(bench, "HTTP/2", http2, "2"),
    ];
    if (!skip["no-latency"])
      await compareLatency(bench, "HTTP/1.1", { ...http1, section: "paced", meanPauseMs: PAUSE_MS }, "");
    const holds = verdicts.every(Boolean);
    process.stdout.write(`bar of 5 % added CPU: ${holds ? "holds" : "missed"}\n`);
    return holds ? 0 : 1;
  });
}

process.exitCode = await main();
// The slow and the stalled server stand in this process.
process.exit();
