// Longer than other files: one world of namespaces, and what is tried in it.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS as POD_TYPE,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import { memberCommand, podToken, registerCluster, writeKubeconfig } from "../fakes/kube-members.ts";
import { accessAs, installAgents, type KubeApi, startKubeApi } from "../fakes/kube-world.ts";
import { Netns, whyNoNetns } from "../fakes/netns.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { until } from "../fakes/until.ts";
import { namespace, pod, service, slice } from "./objects.ts";

const HOST = "198.18.252.1";
const [SLICES] = ENDPOINT_SLICES;
const reason =
  process.env["ISTHMUS_TEST_CAPTURE"] === undefined
    ? "npm run test:capture runs it: it takes root and half a minute"
    : whyNoNetns();

// A process takes two seconds to start, and ten where others use the machine.
const WAIT_MS = 60_000;

/** One cluster of two nodes: web and batch on the first, stock on the second, nearby beside web. */
const NODES = {
  one: {
    address: "198.18.252.11",
    address6: "fd18:252::11",
    pods: "10.244.0.0/24",
    pods6: "fd00:244::/64",
    gateway: "169.254.8.1",
  },
  // Pods' interfaces have no address on the node's side here.
  two: {
    address: "198.18.252.12",
    address6: "fd18:252::12",
    pods: "10.244.1.0/24",
    pods6: "fd00:244:1::/64",
    gateway: undefined,
  },
} as const;
const AGENT_TWO = `${NODES.two.address}:15009`;
type NodeName = keyof typeof NODES;
const PODS = {
  web: { node: "one", address: "10.244.0.10", address6: "fd00:244::10" },
  batch: { node: "one", address: "10.244.0.11", address6: "fd00:244::11" },
  nearby: { node: "one", address: "10.244.0.12", address6: "fd00:244::12" },
  stock: { node: "two", address: "10.244.1.10", address6: "fd00:244:1::10" },
} as const;

let directory: string;
let registry: RegistryProcess;
let api: KubeApi;
const netns = new Netns("im");
const logs: Record<"gateway" | NodeName, string[]> = { gateway: [], one: [], two: [] };
const agents = new Map<NodeName, ChildProcess>();

const environment = (name: string, node: string, more: Record<string, string>): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  ISTHMUS_STATE_DIR: join(directory, name),
  ISTHMUS_KUBERNETES: join(directory, `${name}.kubeconfig`),
  ISTHMUS_MEMBER: name,
  ISTHMUS_NODE: node,
  ISTHMUS_IDENTITY_TOKEN_FILE: join(directory, `${name}.identity`),
  ISTHMUS_REGISTRY: `http://${HOST}:${new URL(registry.url).port}`,
  ...more,
});

function startAgent(node: NodeName): void {
  const env = environment(`agent-${node}`, node, { ISTHMUS_LISTEN: "[::]:15009" });
  agents.set(node, netns.spawn(node, memberCommand("agent"), env, logs[node]));
}

async function addNode(node: NodeName): Promise<void> {
  const { address, address6 } = NODES[node];
  netns.add(node);
  netns.attach("br", node, `w${node}`, `${address}/24`);
  netns.run(node, `ip addr add ${address6}/64 dev w${node} nodad`);
  netns.run(node, "sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
  // A node answers for what it has a way to.
  netns.run(node, `ip route add default via ${HOST}`);
  const file = join(directory, `agent-${node}`);
  const own = `isthmus-agent-${node}`;
  await api.put(POD_TYPE, pod(own, "agent", undefined, { node, namespace: "isthmus-system" }));
  writeFileSync(`${file}.identity`, await podToken(api, { account: "agent", pod: own }));
  writeKubeconfig(`${file}.kubeconfig`, await accessAs(api, "agent"));
}

async function serve(name: keyof typeof PODS): Promise<void> {
  const { node, address, address6 } = PODS[name];
  const source = `require("http").createServer((q,s)=>s.end("${name} saw " + q.socket.remoteAddress)).listen(8080)`;
  netns.spawn(`p${name}`, [process.execPath, "-e", source], {}, []);
  await api.put(SERVICES, service(name, { spec: { ipFamilyPolicy: "PreferDualStack" } }));
  for (const [addressType, own] of [
    ["IPv4", address],
    ["IPv6", address6],
  ] as const) {
    const ports = [{ name: "http", port: 8080 }];
    const made = slice(name, { suffix: addressType.toLowerCase(), ports, addresses: [own] });
    const endpoints = made.endpoints.map((endpoint) => ({ ...endpoint, nodeName: node }));
    await api.put(SLICES, { ...made, addressType, endpoints });
  }
}

/** One service with an endpoint on each node. */
async function serveOnBoth(): Promise<void> {
  await api.put(SERVICES, service("spread"));
  const made = slice("spread", { ports: [{ name: "http", port: 8080 }], addresses: [] });
  const endpoints = [PODS.nearby, PODS.stock].map(({ address, node }) => ({
    addresses: [address],
    nodeName: node,
  }));
  await api.put(SLICES, { ...made, addressType: "IPv4", endpoints });
}

beforeAll(async () => {
  if (reason !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), "isthmus-mesh-"));
  netns.bridge("br", `${HOST}/24`);
  registry = await startRegistryProcess(join(directory, "registry"), { ISTHMUS_LISTEN: "0.0.0.0:0" });
  api = await startKubeApi({ host: HOST, serviceRange: "10.96.1", families: ["IPv4", "IPv6"] });
  installAgents(api);
  await api.put(NAMESPACES, namespace("shop", { "isthmus.dev/mtls": "permissive" }));
  for (const node of ["one", "two"] as const) await addNode(node);
  for (const [from, to] of [
    ["one", NODES.two],
    ["two", NODES.one],
  ] as const) {
    netns.run(from, `ip route add ${to.pods} via ${to.address}`);
    netns.run(from, `ip route add ${to.pods6} via ${to.address6}`);
  }
  for (const [name, { node, address, address6 }] of Object.entries(PODS)) {
    netns.pod(node, `p${name}`, [address, address6], NODES[node].gateway);
    const made = pod(name, name, address, { node });
    const status = { ...made.status, podIPs: [{ ip: address }, { ip: address6 }] };
    await api.put(POD_TYPE, { ...made, status });
  }
  for (const [of, port, addresses, portName] of [
    ["isthmus-gateway", 15008, [["198.18.252.21", "edge"]], "tunnel"],
    ["isthmus-issuer", 15012, [["198.18.252.21", "edge"]], "issuer"],
    ["isthmus-agent", 15009, Object.entries(NODES).map(([node, { address }]) => [address, node]), "tunnel"],
  ] as const) {
    const ports = [{ name: portName, port }];
    await api.put(SERVICES, service(of, { namespace: "isthmus-system", ports }));
    const made = slice(of, { namespace: "isthmus-system", ports, addresses: [] });
    const endpoints = addresses.map(([address, nodeName]) => ({ addresses: [address], nodeName }));
    await api.put(SLICES, { ...made, endpoints });
  }
  writeKubeconfig(join(directory, "gateway-1.kubeconfig"), await accessAs(api, "gateway"));
  writeFileSync(join(directory, "join"), await registerCluster(registry, "east"));
  netns.add("edge");
  netns.attach("br", "edge", "wedge", "198.18.252.21/24");
  const gateway = environment("gateway-1", "edge", {
    ISTHMUS_LISTEN: "0.0.0.0:15008",
    ISTHMUS_ISSUER_LISTEN: "0.0.0.0:15012",
    ISTHMUS_JOIN_TOKEN_FILE: join(directory, "join"),
  });
  netns.spawn("edge", memberCommand("gateway"), gateway, logs.gateway);
  for (const node of ["one", "two"] as const) startAgent(node);
  await serve("stock");
  await serve("nearby");
  await serveOnBoth();
}, 3 * WAIT_MS);

afterAll(async () => {
  if (reason !== undefined) return;
  netns.remove();
  await api?.close();
  await registry?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** Of both families. */
const addressesOf = async (name: string): Promise<readonly string[]> => {
  const found = await api.get(SERVICES, "shop", name);
  if (found === undefined) throw new Error(`no Service ${name}`);
  const { clusterIPs } = found.spec as { clusterIPs: readonly string[] };
  return clusterIPs.map((address) => (address.includes(":") ? `[${address}]` : address));
};
const plain = (name: keyof typeof PODS): readonly string[] => {
  const { address, address6 } = PODS[name];
  return [`${address}:8080`, `[${address6}]:8080`];
};
const curl = (from: string, to: string) =>
  netns.try(`p${from}`, ["curl", "-s", "-g", "-m", "3", `http://${to}/`]);
const answers = (from: string, to: string, start: string): Promise<string> =>
  until(`${from} gets ${start} from ${to}`, WAIT_MS, async () => {
    const { out } = await curl(from, to);
    return out.startsWith(start) ? out : undefined;
  });
const refused = (from: string, to: string): Promise<true> =>
  until(`${from} is refused by ${to}`, WAIT_MS, async () => {
    const { code } = await curl(from, to);
    return code !== null && code !== 0 && code !== 28 ? true : undefined;
  });
const events = (lines: readonly string[], event: string): readonly Record<string, unknown>[] =>
  lines
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((entry) => entry["event"] === event);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(reason !== undefined)(
  `mutual TLS inside a cluster${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    it("takes an unmodified curl to a service from agent to agent, under the pod's own identity", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      for (const [index, stock] of (await addressesOf("stock")).entries()) {
        const { address, address6 } = NODES.two;
        expect(await answers("web", stock, "stock saw")).toContain([address, address6][index]);
        expect(events(logs.two, "tunnel_opened")[index]).toMatchObject({
          direction: "inbound",
          service: "stock.shop",
          caller: "spiffe://east.demo.mesh/ns/shop/sa/web",
          peer: "spiffe://east.demo.mesh/ns/isthmus-system/sa/agent",
        });
      }
    });

    it("takes the calls of pods whose interface has no address on the node's side", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      for (const nearby of await addressesOf("nearby")) await answers("stock", nearby, "nearby saw");
      const callers = events(logs.one, "tunnel_opened").map(({ caller }) => caller);
      expect(callers).toEqual(Array(2).fill("spiffe://east.demo.mesh/ns/shop/sa/stock"));
    });

    it("dials a pod of the caller's own node without a tunnel", { timeout: 3 * WAIT_MS }, async () => {
      const before = events(logs.one, "tunnel_opened").length;
      for (const nearby of await addressesOf("nearby")) await answers("web", nearby, "nearby saw");
      expect(events(logs.one, "tunnel_opened")).toHaveLength(before);
    });

    it("is permissive: a plain call to the pod itself still gets there", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      for (const [index, stock] of plain("stock").entries())
        expect(await answers("web", stock, "stock saw")).toContain(
          [PODS.web.address, PODS.web.address6][index],
        );
    });

    it("refuses plain calls to the pods of a strict namespace, from both nodes, and no others", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      await api.put(NAMESPACES, namespace("shop", { "isthmus.dev/mtls": "strict" }));
      for (const address of [...plain("stock"), ...plain("nearby")]) await refused("web", address);
      for (const stock of await addressesOf("stock")) await answers("web", stock, "stock saw");
      for (const nearby of await addressesOf("nearby")) await answers("batch", nearby, "nearby saw");
    });

    it("does not deliver what comes to its listeners from elsewhere", { timeout: 3 * WAIT_MS }, async () => {
      const listing = netns.run("one", "nft list map inet isthmus strict_ip");
      const listen = /10\.96\.1\.\d+ \. 80 : (\d+)/.exec(listing)?.[1] ?? "";
      expect(listen).not.toBe("");
      // From another node's pod, whose account is none of this node's: the agent has no identity for it.
      for (const address of [NODES.one.address, `[${NODES.one.address6}]`])
        expect((await curl("stock", `${address}:${listen}`)).out).toBe("");
      const tls = ["openssl", "s_client", "-connect", `${NODES.two.address}:15009`, "-alpn", "h2", "-brief"];
      await netns.try("pweb", tls);
      await until("the agent tells of a peer without a certificate", 5_000, () =>
        logs.two.some((line) => line.includes("ISTH-1001")) ? true : undefined,
      );
    });

    it("goes to other endpoints while the agent beside one is silent, and when it is gone", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      const [spread = ""] = await addressesOf("spread");
      for (const start of ["stock saw", "nearby saw"]) await answers("web", spread, start);
      const repeatedly = async (): Promise<readonly string[]> => {
        const got: string[] = [];
        for (let call = 0; call < 16; call++) got.push((await curl("web", spread)).out.split(" ")[0] ?? "");
        return [...new Set(got)].sort();
      };
      expect(await repeatedly()).toEqual(["nearby", "stock"]);
      const pid = await until("a process", 5_000, () => agents.get("two")?.pid);
      const lost = () =>
        events(logs.one, "tunnel_down").filter(({ address }) => address === AGENT_TWO).length;
      const before = lost();
      process.kill(pid, "SIGSTOP");
      await until("its tunnels end", WAIT_MS, () => (lost() > before ? true : undefined));
      expect(await repeatedly()).toEqual(["nearby"]);
      process.kill(pid, "SIGKILL");
      expect(await repeatedly()).toEqual(["nearby"]);
      startAgent("two");
      await answers("web", spread, "stock saw");
    });

    it("refuses while the called node's agent is gone, and serves again when it is back", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      process.kill(await until("a process", 5_000, () => agents.get("two")?.pid), "SIGKILL");
      for (const stock of await addressesOf("stock")) await refused("web", stock);
      await pause(3_500);
      for (const stock of plain("stock")) await refused("web", stock);
      startAgent("two");
      for (const stock of await addressesOf("stock")) await answers("web", stock, "stock saw");
    });

    it("lets calls of a permissive namespace flow the plain way within seconds when all agents are killed", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      const [stock = "", stock6 = ""] = await addressesOf("stock");
      // What kube-proxy does with what nobody captured.
      netns.run(
        "one",
        "nft -f -",
        `table inet proxy {
  chain p {
    type nat hook prerouting priority dstnat;
    ip daddr ${stock} tcp dport 80 dnat ip to ${PODS.stock.address}:8080
    ip6 daddr ${stock6.slice(1, -1)} tcp dport 80 dnat ip6 to [${PODS.stock.address6}]:8080
  }
}
`,
      );
      await api.put(NAMESPACES, namespace("shop", { "isthmus.dev/mtls": "permissive" }));
      const lists = (node: NodeName, what: string) => netns.run(node, `nft list ${what}`);
      await until("it is captured permissively, and its pods take plain calls", WAIT_MS, () =>
        lists("one", "map inet isthmus permissive_ip").includes(stock) &&
        !lists("two", "set inet isthmus guarded_ip").includes(PODS.stock.address)
          ? true
          : undefined,
      );
      // Through both agents, as long as they live: the pod sees its own node.
      expect(await answers("web", stock, "stock saw")).toContain(NODES.two.address);
      expect(await answers("web", stock6, "stock saw")).toContain(NODES.two.address6);
      for (const agent of agents.values()) process.kill(agent.pid ?? 0, "SIGKILL");
      for (const [to, from] of [
        [stock, `::ffff:${PODS.web.address}`],
        [stock6, PODS.web.address6],
      ] as const)
        await until("the pod sees who calls", 10_000, async () =>
          (await curl("web", to)).out === `stock saw ${from}` ? true : undefined,
        );
    });
  },
);
