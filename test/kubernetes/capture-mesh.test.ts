import type { ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FakeKubeApi, startFakeKubeApi } from "../fakes/kube-api/server.ts";
import { Netns, whyNoNetns } from "../fakes/netns.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { until } from "../fakes/until.ts";
import { namespace, pod, service, slice } from "./objects.ts";

const HOST = "198.18.252.1";
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const reason =
  process.env["ISTHMUS_TEST_CAPTURE"] === undefined
    ? "npm run test:capture runs it: it takes root and half a minute"
    : whyNoNetns();

/** One cluster of two nodes: web and batch on the first, stock on the second, nearby beside web. */
const NODES = {
  one: { address: "198.18.252.11", pods: "10.244.0.0/24", gateway: "169.254.8.1" },
  two: { address: "198.18.252.12", pods: "10.244.1.0/24", gateway: "169.254.8.2" },
} as const;
type NodeName = keyof typeof NODES;
const PODS = {
  web: { node: "one", address: "10.244.0.10" },
  batch: { node: "one", address: "10.244.0.11" },
  nearby: { node: "one", address: "10.244.0.12" },
  stock: { node: "two", address: "10.244.1.10" },
} as const;

let directory: string;
let registry: RegistryProcess;
let api: FakeKubeApi;
const netns = new Netns(`im${process.pid % 1000}`);
const logs: Record<"gateway" | NodeName, string[]> = { gateway: [], one: [], two: [] };
const agents = new Map<NodeName, ChildProcess>();

const environment = (name: string, node: string, more: Record<string, string>): NodeJS.ProcessEnv => ({
  PATH: process.env["PATH"],
  ISTHMUS_STATE_DIR: join(directory, name),
  ISTHMUS_KUBERNETES: join(directory, "kubeconfig"),
  ISTHMUS_MEMBER: name,
  ISTHMUS_NODE: node,
  ISTHMUS_IDENTITY_TOKEN_FILE: join(directory, `${name}.identity`),
  ISTHMUS_REGISTRY: `http://${HOST}:${new URL(registry.url).port}`,
  ...more,
});

function startAgent(node: NodeName): void {
  const command = [process.execPath, join(ROOT, "agents/main.ts")];
  const env = environment(`agent-${node}`, node, { ISTHMUS_LISTEN: "0.0.0.0:15009" });
  agents.set(node, netns.spawn(node, command, env, logs[node]));
}

function addNode(node: NodeName): void {
  const { address } = NODES[node];
  netns.add(node);
  netns.attach("br", node, `w${node}`, `${address}/24`);
  netns.run(node, "sysctl -qw net.ipv4.ip_forward=1");
  const token = `agent-${node}`;
  writeFileSync(join(directory, `${token}.identity`), token);
  const extra = {
    "authentication.kubernetes.io/pod-name": [`isthmus-agent-${node}`],
    "authentication.kubernetes.io/node-name": [node],
  };
  const user = { username: "system:serviceaccount:isthmus-system:agent", extra };
  api.tokens.set(token, { user, audiences: ["isthmus-issuer"] });
}

function serve(name: keyof typeof PODS): void {
  const { node, address } = PODS[name];
  const source = `require("http").createServer((q,s)=>s.end("${name} saw " + q.socket.remoteAddress)).listen(8080)`;
  netns.spawn(`p${name}`, [process.execPath, "-e", source], {}, []);
  api.put("services", service(name));
  const made = slice(name, { ports: [{ name: "http", port: 8080 }], addresses: [address] });
  const endpoints = made.endpoints.map((endpoint) => ({ ...endpoint, nodeName: node }));
  api.put("endpointslices", { ...made, endpoints });
}

beforeAll(async () => {
  if (reason !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), "isthmus-mesh-"));
  netns.bridge("br", `${HOST}/24`);
  registry = await startRegistryProcess(join(directory, "registry"), { ISTHMUS_LISTEN: "0.0.0.0:0" });
  api = await startFakeKubeApi({ host: HOST, serviceRange: "10.96.1" });
  api.put("namespaces", namespace("shop", { "isthmus.dev/mtls": "permissive" }));
  for (const node of ["one", "two"] as const) addNode(node);
  netns.run("one", `ip route add ${NODES.two.pods} via ${NODES.two.address}`);
  netns.run("two", `ip route add ${NODES.one.pods} via ${NODES.one.address}`);
  for (const [name, { node, address }] of Object.entries(PODS)) {
    netns.pod(node, `p${name}`, address, NODES[node].gateway);
    api.put("pods", { ...pod(name, name, address), spec: { nodeName: node, serviceAccountName: name } });
  }
  for (const [of, port, addresses, portName] of [
    ["isthmus-gateway", 15008, [["198.18.252.21", "edge"]], "tunnel"],
    ["isthmus-issuer", 15012, [["198.18.252.21", "edge"]], "issuer"],
    ["isthmus-agent", 15009, Object.entries(NODES).map(([node, { address }]) => [address, node]), "tunnel"],
  ] as const) {
    const ports = [{ name: portName, port }];
    api.put("services", service(of, { namespace: "isthmus-system", ports }));
    const made = slice(of, { namespace: "isthmus-system", ports, addresses: [] });
    const endpoints = addresses.map(([address, nodeName]) => ({ addresses: [address], nodeName }));
    api.put("endpointslices", { ...made, endpoints });
  }
  const config = {
    "current-context": "c",
    contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
    clusters: [{ name: "c", cluster: { server: api.url } }],
    users: [{ name: "u", user: {} }],
  };
  writeFileSync(join(directory, "kubeconfig"), JSON.stringify(config));
  const registered = await fetch(`${registry.url}/v1/clusters`, {
    method: "POST",
    headers: { authorization: `Bearer ${registry.token}`, "content-type": "application/json" },
    body: JSON.stringify({ name: "east" }),
  });
  writeFileSync(join(directory, "join"), ((await registered.json()) as { token: string }).token);
  netns.add("edge");
  netns.attach("br", "edge", "wedge", "198.18.252.21/24");
  const gateway = environment("gateway-1", "edge", {
    ISTHMUS_LISTEN: "0.0.0.0:15008",
    ISTHMUS_ISSUER_LISTEN: "0.0.0.0:15012",
    ISTHMUS_JOIN_TOKEN_FILE: join(directory, "join"),
  });
  netns.spawn("edge", [process.execPath, join(ROOT, "gateway/main.ts")], gateway, logs.gateway);
  for (const node of ["one", "two"] as const) startAgent(node);
  serve("stock");
  serve("nearby");
}, 60_000);

afterAll(async () => {
  if (reason !== undefined) return;
  netns.remove();
  await api.close();
  await registry?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

const addressOf = (name: string): string => {
  const found = api.objects("services", "shop").find(({ metadata }) => metadata.name === name);
  if (found === undefined) throw new Error(`no Service ${name}`);
  return (found["spec"] as { clusterIP: string }).clusterIP;
};
const curl = (from: string, to: string) => netns.try(`p${from}`, ["curl", "-s", "-m", "3", `http://${to}/`]);
const answers = (from: string, to: string, start: string): Promise<string> =>
  until(`${from} gets ${start} from ${to}`, 20_000, async () => {
    const { out } = await curl(from, to);
    return out.startsWith(start) ? out : undefined;
  });
const refused = (from: string, to: string): Promise<true> =>
  until(`${from} is refused by ${to}`, 20_000, async () => {
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
      timeout: 60_000,
    }, async () => {
      expect(await answers("web", addressOf("stock"), "stock saw")).toContain(NODES.two.gateway);
      const [opened] = events(logs.two, "tunnel_opened");
      expect(opened).toMatchObject({
        direction: "inbound",
        service: "stock.shop",
        caller: "spiffe://east.demo.mesh/ns/shop/sa/web",
        peer: "spiffe://east.demo.mesh/ns/isthmus-system/sa/agent",
      });
    });

    it("dials a pod of the caller's own node without a tunnel", { timeout: 30_000 }, async () => {
      const before = events(logs.one, "tunnel_opened").length;
      await answers("web", addressOf("nearby"), "nearby saw");
      expect(events(logs.one, "tunnel_opened")).toHaveLength(before);
    });

    it("is permissive: a plain call to the pod itself still gets there", { timeout: 30_000 }, async () => {
      expect(await answers("web", `${PODS.stock.address}:8080`, "stock saw")).toContain(PODS.web.address);
    });

    it("refuses plain calls to the pods of a strict namespace, from both nodes, and no others", {
      timeout: 60_000,
    }, async () => {
      api.put("namespaces", namespace("shop", { "isthmus.dev/mtls": "strict" }));
      await refused("web", `${PODS.stock.address}:8080`);
      await refused("web", `${PODS.nearby.address}:8080`);
      await answers("web", addressOf("stock"), "stock saw");
      await answers("batch", addressOf("nearby"), "nearby saw");
    });

    it("does not deliver what comes to its listeners from elsewhere", { timeout: 30_000 }, async () => {
      const listing = netns.run("one", "nft list map inet isthmus strict");
      const listen = /10\.96\.1\.\d+ \. 80 : (\d+)/.exec(listing)?.[1] ?? "";
      expect(listen).not.toBe("");
      // From another node's pod, whose account is none of this node's: the agent has no identity for it.
      expect((await curl("stock", `${NODES.one.address}:${listen}`)).out).toBe("");
      const tls = ["openssl", "s_client", "-connect", `${NODES.two.address}:15009`, "-alpn", "h2", "-brief"];
      await netns.try("pweb", tls);
      await until("the agent tells of a peer without a certificate", 5_000, () =>
        logs.two.some((line) => line.includes("ISTH-1001")) ? true : undefined,
      );
    });

    it("refuses while the called node's agent is gone, and serves again when it is back", {
      timeout: 60_000,
    }, async () => {
      process.kill(await until("a process", 5_000, () => agents.get("two")?.pid), "SIGKILL");
      await refused("web", addressOf("stock"));
      await pause(3_500);
      await refused("web", `${PODS.stock.address}:8080`);
      startAgent("two");
      await answers("web", addressOf("stock"), "stock saw");
    });

    it("lets calls of a permissive namespace flow the plain way within seconds when all agents are killed", {
      timeout: 60_000,
    }, async () => {
      const stock = addressOf("stock");
      // What kube-proxy does with what nobody captured.
      netns.run(
        "one",
        "nft -f -",
        `table ip proxy {
  chain p {
    type nat hook prerouting priority dstnat;
    ip daddr ${stock} tcp dport 80 dnat to ${PODS.stock.address}:8080
  }
}
`,
      );
      api.put("namespaces", namespace("shop", { "isthmus.dev/mtls": "permissive" }));
      const lists = (node: NodeName, what: string) => netns.run(node, `nft list ${what}`);
      await until("it is captured permissively, and its pods take plain calls", 20_000, () =>
        lists("one", "map inet isthmus permissive").includes(stock) &&
        !lists("two", "set inet isthmus guarded").includes(PODS.stock.address)
          ? true
          : undefined,
      );
      // Through both agents, as long as they live: the pod sees its own node.
      expect(await answers("web", stock, "stock saw")).toContain(NODES.two.gateway);
      for (const agent of agents.values()) process.kill(agent.pid ?? 0, "SIGKILL");
      await until("the pod sees who calls", 10_000, async () =>
        (await curl("web", stock)).out === `stock saw ::ffff:${PODS.web.address}` ? true : undefined,
      );
    });
  },
);
