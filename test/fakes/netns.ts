import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { endWithUs } from "./bound-child.ts";

/** Why network namespaces cannot be used here; `undefined`: they can. */
export function whyNoNetns(): string | undefined {
  if (process.getuid?.() !== 0) return "it takes root to make network namespaces";
  const probe = spawnSync("unshare", ["--net", "nft", "list", "tables"], { encoding: "utf8" });
  if (probe.error !== undefined) return `unshare: ${probe.error.message}`;
  return probe.status === 0 ? undefined : `no nftables in a network namespace: ${probe.stderr.trim()}`;
}

/** Asked for by name only, and answered for by proxy ARP. */
const ANSWERED_FOR = "169.254.1.1";
/** What the node's side of a pair has by its hardware address. */
const LINK_LOCAL = "fe80::ecee:eeff:feee:eeee";

/** Whose a name is: `im2hwcg-one` is of process 2hwcg, in base 36, since a link's name has 15 characters at the most. */
const NAME = /^i[a-z]([0-9a-z]{1,5})-/;

/** Names that processes made which are no test run any more. A process that only has the number of one is none either. */
export function namesLeftBehind(
  names: readonly string[],
  isTestRun: (pid: number) => boolean,
): readonly string[] {
  return names.filter((name) => {
    const owner = NAME.exec(name)?.[1];
    return owner !== undefined && !isTestRun(Number.parseInt(owner, 36));
  });
}

function isTestRun(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("vitest");
  } catch {
    return false;
  }
}

/** A run that was killed leaves its namespaces, what runs in them, and bridges whose addresses the next run wants. */
export function removeLeftBehind(isRun = isTestRun): void {
  const first = (lines: string): readonly string[] =>
    lines.split("\n").map((line) => line.split(/[ @]/)[0] ?? "");
  for (const space of namesLeftBehind(first(sh("ip netns list")), isRun)) {
    const pids = spawnSync("ip", ["netns", "pids", space], { encoding: "utf8" }).stdout ?? "";
    for (const pid of pids.split("\n").filter((each) => each !== "")) spawnSync("kill", ["-KILL", pid]);
    spawnSync("ip", ["netns", "del", space]);
  }
  const links = sh("ip -br link show");
  for (const link of namesLeftBehind(first(links), isRun)) spawnSync("ip", ["link", "del", link]);
}

/** Network namespaces and the processes in them, named apart from everybody else's; all gone after `remove`. */
export class Netns {
  readonly #prefix: string;
  readonly #spaces: string[] = [];
  readonly #links: string[] = [];
  readonly #children: ChildProcess[] = [];

  /** `it`: two letters, other than those of whoever lives in the same process. */
  constructor(kind: string, pid = process.pid) {
    this.#prefix = `${kind}${pid.toString(36)}-`;
  }

  name(space: string): string {
    return `${this.#prefix}${space}`;
  }

  add(space: string): void {
    this.#spaces.push(space);
    sh(`ip netns add ${this.name(space)}`);
    this.run(space, "ip link set lo up");
  }

  /** A bridge in our own namespace with this address; `attach` connects others to it. */
  bridge(name: string, address: string): void {
    removeLeftBehind();
    this.#links.push(this.name(name));
    sh(`ip link add ${this.name(name)} type bridge`);
    sh(`ip addr add ${address} dev ${this.name(name)}`);
    sh(`ip link set ${this.name(name)} up`);
  }

  attach(bridge: string, space: string, device: string, address: string): void {
    const outer = `${this.#prefix}${device}o`;
    // With its namespace it would go later: when the last connection there is forgotten.
    this.#links.push(outer);
    sh(`ip link add ${outer} type veth peer name ${device} netns ${this.name(space)}`);
    sh(`ip link set ${outer} master ${this.name(bridge)} up`);
    this.run(space, `ip addr add ${address} dev ${device}`);
    this.run(space, `ip link set ${device} up`);
  }

  /**
   * A pod: its own namespace behind a pair of its own, as network plug-ins make it. With a gateway, the node's side of the pair
   * has that IPv4 address; without, and for IPv6 always, it has none that is valid elsewhere, and the node answers for the gateway.
   */
  pod(node: string, pod: string, addresses: readonly string[], gateway?: string): void {
    this.add(pod);
    const device = `v${pod}`.slice(0, 12);
    sh(`ip link add ${device} netns ${this.name(node)} type veth peer name eth0 netns ${this.name(pod)}`);
    this.run(node, `ip link set ${device} address ee:ee:ee:ee:ee:ee`);
    for (const [space, link] of [[node, device] as const, [pod, "eth0"] as const]) {
      this.run(space, `sysctl -qw net.ipv6.conf.${link}.accept_dad=0`);
      this.run(space, `ip link set ${link} up`);
    }
    if (gateway !== undefined) this.run(node, `ip addr add ${gateway}/32 dev ${device}`);
    else
      this.run(node, `sysctl -qw net.ipv4.conf.${device}.proxy_arp=1 net.ipv4.neigh.${device}.proxy_delay=0`);
    for (const address of addresses) this.#route(node, device, pod, address, gateway ?? ANSWERED_FOR);
  }

  #route(node: string, device: string, pod: string, address: string, gateway: string): void {
    const isV6 = address.includes(":");
    const [family, bits, via] = isV6 ? ["-6", 128, LINK_LOCAL] : ["-4", 32, gateway];
    this.run(node, `ip ${family} route add ${address}/${bits} dev ${device}`);
    this.run(pod, `ip ${family} addr add ${address}/${bits} dev eth0${isV6 ? " nodad" : ""}`);
    if (!isV6) this.run(pod, `ip route add ${gateway}/32 dev eth0`);
    this.run(pod, `ip ${family} route add default via ${via} dev eth0`);
  }

  run(space: string, command: string, input = ""): string {
    return sh(`ip netns exec ${this.name(space)} ${command}`, input);
  }

  /** Like `run`, for commands that may fail. */
  async try(
    space: string,
    command: readonly string[],
  ): Promise<{ readonly code: number | null; readonly out: string }> {
    const child = spawn("ip", ["netns", "exec", this.name(space), ...command], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    let out = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    return new Promise((resolve) => child.on("close", (code) => resolve({ code, out })));
  }

  spawn(space: string, command: readonly string[], env: NodeJS.ProcessEnv, log: string[]): ChildProcess {
    const child = spawn("ip", ["netns", "exec", this.name(space), ...command], {
      stdio: ["ignore", "ignore", "pipe"],
      env,
    });
    child.stderr
      .setEncoding("utf8")
      .on("data", (text: string) => log.push(...text.split("\n").filter((line) => line !== "")));
    endWithUs(child);
    this.#children.push(child);
    return child;
  }

  remove(): void {
    for (const child of this.#children) child.kill("SIGKILL");
    for (const space of this.#spaces) spawnSync("ip", ["netns", "del", this.name(space)]);
    for (const link of this.#links) spawnSync("ip", ["link", "del", link]);
  }
}

function sh(command: string, input = ""): string {
  const [program = "", ...args] = command.split(" ");
  const done = spawnSync(program, args, { encoding: "utf8", input });
  if (done.status !== 0) throw new Error(`${command}: ${done.stderr || String(done.error)}`);
  return done.stdout;
}
