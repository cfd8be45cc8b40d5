// Longer than other files: one world of namespaces, and what is tried in it.
import type { ChildProcess } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FakeKubeApi, startFakeKubeApi } from "../fakes/kube-api/server.ts";
import { Netns, whyNoNetns } from "../fakes/netns.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";
import { until } from "../fakes/until.ts";
import { namespace, pod, service, serviceExport, slice } from "./objects.ts";

const HOST = "198.18.251.1";
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const reason =
  process.env["ISTHMUS_TEST_CAPTURE"] === undefined
    ? "npm run test:capture runs it: it takes root and half a minute"
    : whyNoNetns();

/** Both clusters use the same addresses for their pods and services: only the gateways' outside addresses differ. */
const POD = "10.244.0.10";
const OTHER_POD = "10.244.0.11";
const GATEWAY_IP = "169.254.7.1";

interface Cluster {
  readonly name: string;
  readonly node: string;
  readonly outside: string;
  readonly gatewayAt: string;
  readonly api: FakeKubeApi;
  readonly logs: Record<"controller" | "gateway" | "agent", string[]>;
  agent: ChildProcess;
}

let directory: string;
let registry: RegistryProcess;
const netns = new Netns(`it${process.pid % 1000}`);
const clusters: Cluster[] = [];

function environment(
  cluster: Pick<Cluster, "name" | "node">,
  role: string,
  more: Record<string, string>,
): NodeJS.ProcessEnv {
  return {
    PATH: process.env["PATH"],
    ISTHMUS_STATE_DIR: join(directory, `${cluster.name}-${role}`),
    ISTHMUS_KUBERNETES: join(directory, `${cluster.name}.kubeconfig`),
    ISTHMUS_MEMBER: `${role}-1`,
    ISTHMUS_NODE: cluster.node,
    ISTHMUS_IDENTITY_TOKEN_FILE: join(directory, `${cluster.name}-${role}.identity`),
    ISTHMUS_REGISTRY: `http://${HOST}:${new URL(registry.url).port}`,
    ...more,
  };
}

const startAgent = (cluster: Pick<Cluster, "name" | "node" | "outside">, log: string[]): ChildProcess =>
  netns.spawn(
    cluster.node,
    [process.execPath, join(ROOT, "agents/main.ts")],
    environment(cluster, "agent", { ISTHMUS_LISTEN: "0.0.0.0:15009" }),
    log,
  );

async function startCluster(name: string, outside: string): Promise<Cluster> {
  const node = `n${name}`;
  netns.add(node);
  netns.attach("br", node, `w${name[0]}`, `${outside}/24`);
  netns.run(node, "sysctl -qw net.ipv4.ip_forward=1");
  netns.pod(node, `p${name}`, POD, GATEWAY_IP);
  // The gateway is a pod of its own, reachable from outside; its way to this cluster's pods is the node.
  const gatewayAt = outside.replace(/1(\d)$/, "2$1");
  netns.add(`g${name}`);
  netns.attach("br", `g${name}`, `g${name[0]}`, `${gatewayAt}/24`);
  netns.run(`g${name}`, `ip route add 10.244.0.0/24 via ${outside}`);
  const api = await startFakeKubeApi({ host: HOST, serviceRange: "10.96.0" });
  api.put("namespaces", namespace("shop"));
  api.put("pods", {
    ...pod("one", name === "east" ? "cart" : "web", POD),
    spec: { nodeName: node, serviceAccountName: name === "east" ? "cart" : "web" },
  });
  for (const [of, port, address, portName] of [
    ["isthmus-gateway", 15008, gatewayAt, "tunnel"],
    ["isthmus-agent", 15009, outside, "tunnel"],
    ["isthmus-issuer", 15012, gatewayAt, "issuer"],
  ] as const) {
    const ports = [{ name: portName, port }];
    api.put("services", service(of, { namespace: "isthmus-system", ports }));
    api.put("endpointslices", slice(of, { namespace: "isthmus-system", ports, addresses: [address] }));
  }
  for (const role of ["agent", "controller"]) {
    const token = `${name}-${role}`;
    writeFileSync(join(directory, `${token}.identity`), token);
    const extra = {
      "authentication.kubernetes.io/pod-name": [`isthmus-${role}-1`],
      "authentication.kubernetes.io/node-name": [node],
    };
    const user = { username: `system:serviceaccount:isthmus-system:${role}`, extra };
    api.tokens.set(token, { user, audiences: ["isthmus-issuer"] });
  }
  writeFileSync(
    join(directory, `${name}.kubeconfig`),
    JSON.stringify({
      "current-context": "c",
      contexts: [{ name: "c", context: { cluster: "c", user: "u" } }],
      clusters: [{ name: "c", cluster: { server: api.url } }],
      users: [{ name: "u", user: {} }],
    }),
  );
  const registered = await fetch(`${registry.url}/v1/clusters`, {
    method: "POST",
    headers: { authorization: `Bearer ${registry.token}`, "content-type": "application/json" },
    body: JSON.stringify({ name }),
  });
  const { token } = (await registered.json()) as { token: string };
  const tokenFile = join(directory, `${name}.token`);
  writeFileSync(tokenFile, token);
  const logs = { controller: [], gateway: [], agent: [] } as Cluster["logs"];
  const facts = { name, node, outside };
  const run = (role: "controller" | "gateway", entry: string, more: Record<string, string>) =>
    netns.spawn(
      role === "gateway" ? `g${name}` : node,
      [process.execPath, join(ROOT, entry)],
      environment(facts, role, more),
      logs[role],
    );
  run("controller", "agents/kubernetes/main.ts", { ISTHMUS_LISTEN: "0.0.0.0:15013" });
  run("gateway", "gateway/main.ts", {
    ISTHMUS_ISSUER_LISTEN: "0.0.0.0:15012",
    ISTHMUS_JOIN_TOKEN_FILE: tokenFile,
    ISTHMUS_LISTEN: "0.0.0.0:15008",
    ISTHMUS_ADVERTISE: `${gatewayAt}:15008`,
  });
  return { ...facts, gatewayAt, api, logs, agent: startAgent(facts, logs.agent) };
}

const find = (name: string): Cluster => {
  const found = clusters.find((cluster) => cluster.name === name);
  if (found === undefined) throw new Error(`no cluster ${name}`);
  return found;
};

beforeAll(async () => {
  if (reason !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), "isthmus-capture-"));
  netns.bridge("br", `${HOST}/24`);
  registry = await startRegistryProcess(join(directory, "registry"), { ISTHMUS_LISTEN: "0.0.0.0:0" });
  clusters.push(await startCluster("east", "198.18.251.11"), await startCluster("west", "198.18.251.12"));
  const east = find("east");
  const serve = `require("http").createServer((q,s)=>s.end("cart of east")).listen(8080)`;
  netns.spawn("peast", [process.execPath, "-e", serve], {}, []);
  east.api.put("services", service("cart"));
  east.api.put("endpointslices", slice("cart", { ports: [{ name: "http", port: 8080 }], addresses: [POD] }));
  east.api.put("serviceexports", serviceExport("cart"));
}, 60_000);

afterAll(async () => {
  if (reason !== undefined) return;
  netns.remove();
  for (const { api } of clusters) await api.close();
  await registry?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

interface Derived {
  readonly clusterIP: string;
  readonly ports: readonly { readonly targetPort: number }[];
}

const derived = (): Promise<Derived> =>
  until(
    "west derives a Service",
    20_000,
    () =>
      find("west")
        .api.objects("services", "shop")
        .map(({ spec }) => spec as Derived)[0],
  );

const curl = (address: string, ...more: readonly string[]) =>
  netns.try("pwest", ["curl", "-s", "-m", "2", ...more, `http://${address}/`]);

const answers = (address: string): Promise<true> =>
  until("curl gets the far cart", 20_000, async () =>
    (await curl(address)).out === "cart of east" ? true : undefined,
  );

const tableThere = (): boolean => netns.run("nwest", "nft list tables").includes("inet isthmus");
const events = (lines: readonly string[], event: string): readonly Record<string, unknown>[] =>
  lines
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((entry) => entry["event"] === event);

describe.skipIf(reason !== undefined)(
  `transparent capture between overlapping networks${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    it("takes an unmodified curl to a service address to the other cluster, under the pod's own identity", {
      timeout: 60_000,
    }, async () => {
      const { clusterIP } = await derived();
      await answers(clusterIP);
      const opened = events(find("east").logs.agent, "tunnel_opened");
      expect(opened[0]).toMatchObject({
        direction: "inbound",
        caller: "spiffe://west.demo.mesh/ns/shop/sa/web",
        peer: "spiffe://east.demo.mesh/ns/isthmus-system/sa/gateway",
      });
      const egress = events(find("west").logs.gateway, "tunnel_opened");
      expect(egress[0]).toMatchObject({ peer: "spiffe://west.demo.mesh/ns/isthmus-system/sa/agent" });
    });

    it("keeps the key of the cluster's CA to its gateways", () => {
      for (const { name } of clusters) {
        const files = (role: string) => readdirSync(join(directory, `${name}-${role}`));
        expect(files("gateway")).toContain("ca.key");
        for (const role of ["agent", "controller"]) expect(files(role)).not.toContain("ca.key");
      }
      const issued = events(find("west").logs.gateway, "identity_issued").map(({ spiffeId }) => spiffeId);
      expect(issued).toContain("spiffe://west.demo.mesh/ns/shop/sa/web");
      expect(issued).toContain("spiffe://west.demo.mesh/ns/isthmus-system/sa/controller");
    });

    it("does not let a pod speak as another pod", { timeout: 30_000 }, async () => {
      const west = find("west");
      netns.pod("nwest", "pbatch", OTHER_POD, "169.254.7.2");
      west.api.put("pods", {
        ...pod("two", "batch", OTHER_POD),
        spec: { nodeName: west.node, serviceAccountName: "batch" },
      });
      const { clusterIP } = await derived();
      netns.run("pwest", `ip addr add ${OTHER_POD}/32 dev eth0`);
      const forged = await curl(clusterIP, "--interface", OTHER_POD);
      expect(forged.out).toBe("");
      // The agent was given that identity, for the pod that has the address; nobody called by it.
      const opened = events([...find("east").logs.agent, ...west.logs.gateway], "tunnel_opened");
      expect(opened.map(({ caller }) => caller).join()).not.toContain("sa/batch");
      netns.run("pwest", `ip addr del ${OTHER_POD}/32 dev eth0`);
      expect((await netns.try("pbatch", ["curl", "-s", "-m", "3", `http://${clusterIP}/`])).out).toBe(
        "cart of east",
      );
    });

    it("lets traffic flow the plain way within seconds when a permissive namespace's agent is killed", {
      timeout: 60_000,
    }, async () => {
      const west = find("west");
      const { clusterIP, ports } = await derived();
      // What kube-proxy does with the derived Service: it sends what nobody captured to a gateway.
      netns.run(
        "nwest",
        "nft -f -",
        `table ip proxy {
  chain p {
    type nat hook prerouting priority dstnat;
    ip daddr ${clusterIP} tcp dport 80 dnat to ${west.gatewayAt}:${ports[0]?.targetPort}
  }
}
`,
      );
      const child = await agentPid(west);
      process.kill(child, "SIGKILL");
      expect(tableThere()).toBe(true);
      await answers(clusterIP);
    });

    it("refuses while the agent of a strict namespace is gone, and serves again when it is back", {
      timeout: 60_000,
    }, async () => {
      const west = find("west");
      const { clusterIP } = await derived();
      west.api.put("namespaces", namespace("shop", { "isthmus.dev/mtls": "strict" }));
      west.agent = startAgent(west, west.logs.agent);
      await until("it is captured strictly", 20_000, () =>
        netns.run("nwest", "nft list map inet isthmus strict").includes(clusterIP) ? true : undefined,
      );
      await answers(clusterIP);
      process.kill(await agentPid(west), "SIGKILL");
      await until("it is refused", 10_000, async () =>
        (await curl(clusterIP)).code === 7 ? true : undefined,
      );
      // Longer than any switch takes to open by itself.
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      expect((await curl(clusterIP)).code).toBe(7);
      west.agent = startAgent(west, west.logs.agent);
      await answers(clusterIP);
    });

    it.each(["SIGINT", "SIGTERM"] as const)(
      "leaves nothing behind when it is ended by %s",
      { timeout: 30_000 },
      async (signal) => {
        const west = find("west");
        const { clusterIP } = await derived();
        if (!tableThere()) {
          west.agent = startAgent(west, west.logs.agent);
          await until("the rules are there", 15_000, () => (tableThere() ? true : undefined));
        }
        process.kill(await agentPid(west), signal);
        await until("the table is gone", 10_000, () => (tableThere() ? undefined : true));
        await answers(clusterIP);
      },
    );
  },
);

/** `ip netns exec` replaces itself by the program: its process is the agent. */
async function agentPid({ agent }: Cluster): Promise<number> {
  return until("the agent has a process", 5_000, () => agent.pid);
}
