import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findFreePorts } from "../../federation/cli/up/ports.ts";
import { alive, type Federation, ISTHMUS, startFederation, twoClusters } from "./federation.ts";
import { type Address } from "./http-wire.ts";
import { type RegistryProcess, startRegistryProcess } from "./registry-process.ts";
import { until } from "./until.ts";

/** `isthmus gateway --workers` of one cluster. */
export interface WorkerGateway {
  readonly process: ChildProcess;
  /** Of the process that supervises: answers for all. */
  readonly admin: string;
  log(): string;
}

/** Two clusters without agents, whose gateways are groups of workers. */
export interface WorkerWorld {
  readonly web: Address;
  readonly east: WorkerGateway;
  readonly west: WorkerGateway;
  stop(): Promise<void>;
}

/** `prefix`: a command that the gateways are started by, such as `taskset -c 1`. */
export async function startWorkerWorld(
  cart: string,
  workers: number,
  prefix: readonly string[] = [],
): Promise<WorkerWorld> {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-workers-"));
  // `up` joins the clusters and applies the rules; what it leaves in its state is what real machines would have.
  const up = await startFederation(twoClusters({ cart, agents: false }), directory);
  const web = up.address("web");
  process.kill(up.upPid, "SIGINT");
  await until("up is gone", 10_000, () => (alive(up.upPid) ? undefined : true));
  const registry = await startRegistryProcess(join(directory, "state/registry"), {
    ISTHMUS_FEDERATION: "test.mesh",
  });
  const ports = (await findFreePorts(2, "127.0.0.1", Math.random)) ?? [];
  const start = (cluster: string, port: number | undefined) =>
    startGateway(prefix, join(directory, "state/clusters", cluster), workers, port ?? 0, registry.url);
  const [east, west] = await Promise.all([start("east", ports[0]), start("west", ports[1])]);
  return { web, east, west, stop: () => stop(up, registry, [east, west]) };
}

async function startGateway(
  prefix: readonly string[],
  state: string,
  workers: number,
  port: number,
  registry: string,
): Promise<WorkerGateway> {
  const command = [
    ...prefix,
    process.execPath,
    ISTHMUS,
    "gateway",
    ...["--workers", String(workers), "--state", state, "--member", "edge"],
    ...["--listen", `127.0.0.1:${port}`, "--services", join(state, "services.yaml"), "--registry", registry],
  ];
  const child = spawn(command[0] ?? "", command.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (log += text));
  const admin = await until(`the gateway of ${state} serves`, 30_000, () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}: ${log}`);
    // One worker is one process, which says so itself.
    const said = workers > 1 ? /health and metrics of all: (\S+)/ : /"admin":"([^"]+)"/;
    return said.exec(log)?.[1];
  });
  return { process: child, admin, log: () => log };
}

async function stop(up: Federation, registry: RegistryProcess, gateways: readonly WorkerGateway[]) {
  await Promise.all(
    gateways.map(async ({ process: child }) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGINT");
      await once(child, "exit");
    }),
  );
  await registry.end("SIGINT");
  await up.stop();
}
