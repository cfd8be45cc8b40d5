/**
 * What one more worker costs: two gateways in a row, each once as one process and once as two behind one port, in the same run.
 * Prints CPU time per request of all their processes, and the ratio: with as many connections in all, where each worker gathers
 * half as much per turn, and with as many for each worker. The bar is for workers that may use every core, which is what they are
 * for; squeezed into one core they also take its caches from each other, and that is shown beside it, without a verdict.
 * `npm run bench:workers -- --rounds 5`
 */
import { cpus } from "node:os";
import { startWorkerWorld, type WorkerWorld } from "../fakes/workers.ts";
import { makeCertificates } from "./certificates.ts";
import { Children, complainOfAbsent } from "./children.ts";
import { startBackend } from "./peers/nginx.ts";
import { familyMicros } from "./proc.ts";
import { type Bar, judgeWorkers, type WorkersRound } from "./summary.ts";
import { parseWrk } from "./wrk.ts";
import { toolOptions } from "../tool-options.ts";

/** Connections of the one worker, and of the two. */
const LOADS = [
  [64, 64],
  [256, 256],
  [64, 128],
  [256, 512],
] as const;
const SECONDS = 4;
const WARM_UP_SECONDS = 4;

const LOAD_CPU = 0;
const PROXY_CPU = cpus().length > 1 ? 1 : 0;

/** Where all processes of both gateways run. */
interface Placement {
  readonly name: string;
  readonly prefix: readonly string[];
  readonly isJudged: boolean;
}

const PLACEMENTS: readonly Placement[] = [
  { name: "on every core", prefix: [], isJudged: true },
  { name: `on core ${PROXY_CPU}`, prefix: ["taskset", "-c", String(PROXY_CPU)], isJudged: false },
];

interface Group {
  readonly workers: number;
  readonly placement: Placement;
  readonly world: WorkerWorld;
}

async function main(rounds: number): Promise<number> {
  if (complainOfAbsent(["wrk", "nginx", "openssl", "taskset"], "wrk nginx-light openssl")) return 69;
  const children = new Children();
  return children.during(async () => {
    const cpu = { load: LOAD_CPU, proxies: PROXY_CPU };
    const { port: backend } = await startBackend({
      children,
      certificates: makeCertificates(children.directory),
      cpu,
    });
    const groups: Group[] = [];
    try {
      for (const placement of PLACEMENTS)
        for (const workers of [1, 2]) {
          const world = await startWorkerWorld(`127.0.0.1:${backend}`, workers, placement.prefix);
          groups.push({ workers, placement, world });
        }
      return await compare(groups, rounds, children);
    } finally {
      for (const { world } of groups) await world.stop();
    }
  });
}

async function compare(groups: readonly Group[], rounds: number, children: Children): Promise<number> {
  for (const { world } of groups) await load(world, 64, WARM_UP_SECONDS, children);
  const judged: Bar[] = [];
  const aside: Bar[] = [];
  for (const placement of PLACEMENTS) {
    const placed = groups.filter((group) => group.placement === placement);
    for (const loads of LOADS) {
      const measured: WorkersRound[] = [];
      for (let round = 0; round < rounds; round++) measured.push(await measureRound(placed, loads, children));
      const bar = judgeWorkers(`${placement.name}, ${loads.join(" and ")} connections`, measured);
      (placement.isJudged ? judged : aside).push(bar);
    }
  }
  const ratioOf = ({ name, ratio }: Bar): string => `${name}: two cost ${ratio?.toFixed(2) ?? "-"} of one`;
  for (const bar of judged)
    process.stdout.write(`${ratioOf(bar)}, ${bar.bound} ${bar.limit}: ${bar.verdict}\n`);
  for (const bar of aside) process.stdout.write(`${ratioOf(bar)}, not judged\n`);
  return judged.every(({ verdict }) => verdict === "holds") ? 0 : 1;
}

async function measureRound(
  groups: readonly Group[],
  loads: readonly [one: number, two: number],
  children: Children,
): Promise<WorkersRound> {
  const round = { one: 0, two: 0, errors: 0 };
  for (const { workers, placement, world } of groups) {
    const connections = loads[workers - 1] ?? 0;
    const before = cpuMicros(world);
    const { requests, errors } = await load(world, connections, SECONDS, children);
    const each = (cpuMicros(world) - before) / requests;
    round[workers === 1 ? "one" : "two"] = each;
    round.errors += errors;
    process.stdout.write(
      `${placement.name}, ${connections} connections, ${workers} worker(s): ${each.toFixed(1)} µs/request, ${errors} errors\n`,
    );
  }
  return round;
}

async function load(world: WorkerWorld, connections: number, seconds: number, children: Children) {
  const url = `http://${world.web.host}:${world.web.port}/`;
  const args = ["-t1", `-c${connections}`, `-d${seconds}s`, "--timeout", "10s", "--latency", url];
  const wrk = children.start(LOAD_CPU, "wrk", args);
  let output = "";
  wrk.process.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  await new Promise((resolve) => wrk.process.once("close", resolve));
  return parseWrk(output + wrk.complaint());
}

/** Of all processes of both gateways, the ones that supervise included. */
function cpuMicros({ east, west }: WorkerWorld): number {
  return familyMicros([east.process.pid ?? 0, west.process.pid ?? 0]);
}

process.exitCode = await main(toolOptions("npm run bench:workers --", { rounds: 3 }).rounds);
