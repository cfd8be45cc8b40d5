import { spawn, spawnSync, type ChildProcess } from "node:child_process";

/** Why network namespaces cannot be used here; `undefined`: they can. */
export function whyNoNetns(): string | undefined {
  if (process.getuid?.() !== 0) return "it takes root to make network namespaces";
  const probe = spawnSync("unshare", ["--net", "nft", "list", "tables"], { encoding: "utf8" });
  if (probe.error !== undefined) return `unshare: ${probe.error.message}`;
  return probe.status === 0 ? undefined : `no nftables in a network namespace: ${probe.stderr.trim()}`;
}

/** Network namespaces and the processes in them, named apart from everybody else's; all gone after `remove`. */
export class Netns {
  readonly #prefix: string;
  readonly #spaces: string[] = [];
  readonly #links: string[] = [];
  readonly #children: ChildProcess[] = [];

  constructor(prefix: string) {
    this.#prefix = prefix;
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
    this.#links.push(this.name(name));
    sh(`ip link add ${this.name(name)} type bridge`);
    sh(`ip addr add ${address} dev ${this.name(name)}`);
    sh(`ip link set ${this.name(name)} up`);
  }

  attach(bridge: string, space: string, device: string, address: string): void {
    const outer = `${this.#prefix}${device}o`;
    sh(`ip link add ${outer} type veth peer name ${device} netns ${this.name(space)}`);
    sh(`ip link set ${outer} master ${this.name(bridge)} up`);
    this.run(space, `ip addr add ${address} dev ${device}`);
    this.run(space, `ip link set ${device} up`);
  }

  /** A pod: its own namespace behind a pair of its own, as network plug-ins make it. */
  pod(node: string, pod: string, address: string, gateway: string): void {
    this.add(pod);
    const device = `v${pod}`.slice(0, 12);
    sh(`ip link add ${device} netns ${this.name(node)} type veth peer name eth0 netns ${this.name(pod)}`);
    this.run(node, `ip link set ${device} up`);
    this.run(node, `ip addr add ${gateway}/32 dev ${device}`);
    this.run(node, `ip route add ${address}/32 dev ${device}`);
    this.run(pod, `ip addr add ${address}/32 dev eth0`);
    this.run(pod, "ip link set eth0 up");
    this.run(pod, `ip route add ${gateway}/32 dev eth0`);
    this.run(pod, `ip route add default via ${gateway}`);
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
