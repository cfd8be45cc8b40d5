import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { type Address, addressOf } from "./http-wire.ts";
import { until } from "./until.ts";

export const ISTHMUS = fileURLToPath(new URL("../../federation/cli/bin/isthmus.cjs", import.meta.url));

export type Role = "registry" | "gateway" | "agent";

/** What `isthmus up -o json` prints once everything is ready. */
export interface Ready {
  readonly apiVersion: string;
  readonly kind: string;
  readonly registry: string;
  readonly adminTokenFile: string;
  readonly processes: readonly { readonly role: Role; readonly cluster?: string; readonly pid: number }[];
  readonly imports: readonly {
    readonly cluster: string;
    readonly workload: string;
    readonly service: string;
    readonly port: number;
    readonly address: string;
  }[];
}

export interface MemberName {
  readonly role: Role;
  readonly cluster?: string;
  /** 1 unless given. */
  readonly number?: number;
}

/** A federation of real processes, as a user starts one. */
export interface Federation {
  readonly ready: Ready;
  readonly upPid: number;
  /** Holds its file and its state. */
  readonly directory: string;
  /** Everything that `up` and its processes logged. */
  log(): string;
  /** Where the workload finds the service. */
  address(workload: string, service?: string): Address;
  /** The process that holds the place now; a restarted one has another. `undefined` while there is none. */
  pid(member: MemberName): number | undefined;
  /** Where that process takes its peers' connections. */
  listening(member: MemberName): Address;
  /** Waits until a process other than `before` holds the place and takes connections. */
  returned(member: MemberName, before: number, deadlineMs?: number): Promise<number>;
  signal(member: MemberName, signal: NodeJS.Signals): number;
  /** Keeps `up` from starting anything again, until `resume`. */
  pause(): void;
  resume(): void;
  /** Runs one `isthmus` command as the administrator. */
  isthmus(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }>;
  /** Ctrl-C; resolves with the exit code once all processes are gone. */
  stop(): Promise<number | null>;
}

/** It takes three seconds on an idle machine; a busy one is not a failure. */
const READY_MS = 60_000;
const GONE_MS = 10_000;

/** Starts `isthmus up` with these documents (the first one a LocalFederation), on the state of an earlier one if given. */
export async function startFederation(
  documents: readonly object[],
  directory = mkdtempSync(join(tmpdir(), "isthmus-fault-")),
  env: NodeJS.ProcessEnv = {},
): Promise<Federation> {
  const file = join(directory, "federation.yaml");
  const state = join(directory, "state");
  writeFileSync(file, documents.map((document) => stringify(document)).join("---\n"));
  const up = spawn(
    process.execPath,
    [ISTHMUS, "up", "-f", file, "--state", state, "--timeout", "60s", "-o", "json", "--verbose"],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", ...env },
    },
  );
  const log: string[] = [];
  up.stderr.setEncoding("utf8").on("data", (text: string) => log.push(text));
  const ready = await readReady(up, log);
  const pid = up.pid ?? 0;
  const find = (member: MemberName) => findMember(pid, member);
  return {
    ready,
    upPid: pid,
    directory,
    log: () => log.join(""),
    address: (workload, service = "cart.shop") => importedAddress(ready, workload, service),
    pid: (member) => find(member)?.pid,
    listening(member) {
      const now = find(member);
      if (now === undefined) throw new Error(`there is no ${describeMember(member)}`);
      return now.listen;
    },
    returned: (member, before, deadlineMs = 10_000) =>
      until(`${describeMember(member)} is back`, deadlineMs, async () => {
        const now = find(member);
        return now !== undefined && now.pid !== before && (await accepts(now.listen)) ? now.pid : undefined;
      }),
    signal(member, signal) {
      const now = find(member);
      if (now === undefined) throw new Error(`there is no ${describeMember(member)}`);
      process.kill(now.pid, signal);
      return now.pid;
    },
    pause: () => process.kill(pid, "SIGSTOP"),
    resume: () => process.kill(pid, "SIGCONT"),
    isthmus: (...args) => run([...args, "--registry", ready.registry, "--token-file", ready.adminTokenFile]),
    async stop() {
      const children = childrenOf(pid);
      if (up.exitCode === null && up.signalCode === null) {
        process.kill(pid, "SIGCONT");
        up.kill("SIGINT");
        await Promise.race([
          once(up, "exit"),
          until("up ends after SIGINT", GONE_MS, () => up.exitCode ?? undefined),
        ]);
      }
      await until("all its processes are gone", GONE_MS, () => (children.some(alive) ? undefined : true));
      rmSync(directory, { recursive: true, force: true });
      return up.exitCode;
    },
  };
}

/** Two clusters as in the README: `cart` of east, permitted to `web` of west and not to `batch`. */
export function twoClusters(options: {
  readonly cart: string;
  readonly echo?: string;
  readonly agents?: boolean;
  readonly gateways?: number;
  readonly agentReplicas?: number;
}): object[] {
  const { cart, echo, agents = true, gateways = 1, agentReplicas = 1 } = options;
  const apiVersion = "isthmus.dev/v1alpha1";
  const cluster = { agents, gateways, agentReplicas };
  const service = (name: string, protocol: string, endpoint: string) => ({
    namespace: "shop",
    name,
    services: [{ name, port: 80, protocol, endpoints: [endpoint] }],
  });
  const shared = (name: string) => [
    {
      apiVersion,
      kind: "ServiceExport",
      metadata: { cluster: "east", namespace: "shop", name },
      spec: { consumers: [{ cluster: "west", workloads: ["ns/shop/sa/web"] }] },
    },
    {
      apiVersion,
      kind: "ServiceImport",
      metadata: { cluster: "west", namespace: "shop", name },
      spec: { from: { cluster: "east" } },
    },
  ];
  const east = [service("cart", "http", cart), ...(echo === undefined ? [] : [service("echo", "tcp", echo)])];
  const west = [
    { namespace: "shop", name: "web" },
    { namespace: "shop", name: "batch" },
  ];
  return [
    {
      apiVersion,
      kind: "LocalFederation",
      metadata: { name: "test.mesh" },
      spec: {
        clusters: [
          { name: "east", ...cluster, workloads: east },
          { name: "west", ...cluster, workloads: west },
        ],
      },
    },
    ...shared("cart"),
    ...(echo === undefined ? [] : shared("echo")),
  ];
}

/** Runs `isthmus` to its end. */
export async function run(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [ISTHMUS, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1", ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  await once(child, "close");
  return { code: child.exitCode, out, err };
}

export function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie still has a number; it runs no more.
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

async function readReady(up: ChildProcess, log: readonly string[]): Promise<Ready> {
  let out = "";
  up.stdout?.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  try {
    return await until("up is ready", READY_MS, () => {
      if (up.exitCode !== null) throw new Error(`up ended with ${up.exitCode}`);
      return out.includes("\n") ? (JSON.parse(out) as Ready) : undefined;
    });
  } catch (error) {
    up.kill("SIGINT");
    throw new Error(`${String(error)}\n${log.join("").slice(-4000)}`, { cause: error });
  }
}

function importedAddress(ready: Ready, workload: string, service: string): Address {
  const name = `ns/shop/sa/${workload}`;
  const found = ready.imports.find((one) => one.workload === name && one.service === service);
  if (found === undefined) throw new Error(`${name} does not import ${service}`);
  return addressOf(found.address);
}

/** Linux tells which processes `up` started and with which settings; what it printed at the start is soon outdated. */
function findMember(up: number, member: MemberName): { pid: number; listen: Address } | undefined {
  for (const pid of childrenOf(up).reverse()) {
    const env = environmentOf(pid);
    const directory = env.get("ISTHMUS_STATE_DIR") ?? "";
    const wanted =
      member.role === "registry"
        ? env.get("ISTHMUS_FEDERATION") !== undefined && env.get("ISTHMUS_MEMBER") === undefined
        : env.get("ISTHMUS_MEMBER") === `${member.role}-${member.number ?? 1}` &&
          directory.endsWith(`/${member.cluster ?? ""}`);
    if (wanted && alive(pid)) return { pid, listen: addressOf(env.get("ISTHMUS_LISTEN") ?? "") };
  }
  return undefined;
}

export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`)
      .flatMap((task) => readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" "))
      .filter((child) => child !== "")
      .map(Number)
      .sort((a, b) => a - b);
  } catch {
    return [];
  }
}

function environmentOf(pid: number): Map<string, string> {
  try {
    const pairs = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
    return new Map(
      pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
    );
  } catch {
    return new Map();
  }
}

function accepts(address: Address): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(address);
    const answer = (yes: boolean) => {
      socket.destroy();
      resolve(yes);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

function describeMember({ role, cluster, number = 1 }: MemberName): string {
  return cluster === undefined ? role : `${role} ${number} of ${cluster}`;
}
