import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NAMESPACES, PODS } from "../../agents/kubernetes/api/resource-type.ts";
import { type CapturedCluster, CaptureWorld, IPV4_PLAN, IPV6_PLAN } from "../fakes/capture-world.ts";
import { whyNoNetns } from "../fakes/netns.ts";
import { until } from "../fakes/until.ts";
import { namespace, pod } from "./objects.ts";

const reason =
  process.env["ISTHMUS_TEST_CAPTURE"] === undefined
    ? "npm run test:capture runs it: it takes root and a minute"
    : whyNoNetns();

// A process takes two seconds to start, and ten where others use the machine.
const WAIT_MS = 60_000;

const events = (lines: readonly string[], event: string): readonly Record<string, unknown>[] =>
  lines
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((entry) => entry["event"] === event);

describe.skipIf(reason !== undefined).each([IPV4_PLAN, IPV6_PLAN])(
  `transparent capture between overlapping networks, $family${reason === undefined ? "" : ` (${reason})`}`,
  (plan) => {
    let world: CaptureWorld;
    const find = (name: "east" | "west"): CapturedCluster => world.cluster(name);
    const run = (space: string, command: string, input = "") => world.netns.run(space, command, input);
    const derived = () => world.derived();
    const hostOf = (address: string) => (address.includes(":") ? `[${address}]` : address);
    const curlFrom = (space: string, address: string, ...more: readonly string[]) =>
      world.netns.try(space, ["curl", "-s", "-g", "-m", "2", ...more, `http://${hostOf(address)}/`]);
    const curl = (address: string, ...more: readonly string[]) => curlFrom("pwest", address, ...more);
    const answers = (address: string): Promise<true> =>
      until("curl gets the far cart", WAIT_MS, async () =>
        (await curl(address)).out === "cart of east" ? true : undefined,
      );
    const tableThere = (): boolean => run("nwest", "nft list tables").includes("inet isthmus");
    /** Whom anybody, anywhere, took for the caller so far. */
    const callers = (): string => {
      const lines = [...find("east").logs.agent, ...find("west").logs.gateway];
      return events(lines, "tunnel_opened")
        .map(({ caller }) => caller)
        .join();
    };

    beforeAll(async () => {
      world = new CaptureWorld(plan);
      await world.start();
    }, 3 * WAIT_MS);
    afterAll(() => world.stop());

    it("takes an unmodified curl to a service address to the other cluster, under the pod's own identity", {
      timeout: 3 * WAIT_MS,
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
      for (const name of ["east", "west"]) {
        const files = (role: string) => readdirSync(join(world.directory, `${name}-${role}`));
        expect(files("gateway")).toContain("ca.key");
        for (const role of ["agent", "controller"]) expect(files(role)).not.toContain("ca.key");
      }
      const issued = events(find("west").logs.gateway, "identity_issued").map(({ spiffeId }) => spiffeId);
      expect(issued).toContain("spiffe://west.demo.mesh/ns/shop/sa/web");
      expect(issued).toContain("spiffe://west.demo.mesh/ns/isthmus-system/sa/controller");
    });

    it("does not let a pod speak as another pod", { timeout: 3 * WAIT_MS }, async () => {
      await world.addPod(find("west"), "pbatch", "batch");
      const { clusterIP } = await derived();
      const own = plan.family === "IPv4" ? `${plan.otherPod}/32` : `${plan.otherPod}/128`;
      run("pwest", `ip addr add ${own} dev eth0${plan.family === "IPv4" ? "" : " nodad"}`);
      expect((await curl(clusterIP, "--interface", plan.otherPod)).out).toBe("");
      // The agent was given that identity, for the pod that has the address; nobody called by it.
      expect(callers()).not.toContain("sa/batch");
      run("pwest", `ip addr del ${own} dev eth0`);
      expect((await curlFrom("pbatch", clusterIP)).out).toBe("cart of east");
    });

    it.runIf(plan.family === "IPv6")(
      "knows no caller by an address of one link, nor by an IPv4 address within an IPv6 one",
      { timeout: 3 * WAIT_MS },
      async () => {
        const { clusterIP } = await derived();
        const west = find("west");
        const shown = run("pwest", "ip -6 -o addr show dev eth0 scope link");
        const linkLocal = /fe80::[0-9a-f:]+/.exec(shown)?.[0] ?? "";
        const script = `const s=require("net").connect({host:"${clusterIP}",port:80,localAddress:"${linkLocal}%eth0"});
s.on("connect",()=>s.write("GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n"));s.setTimeout(3000,()=>s.destroy());
s.on("error",()=>{});s.on("data",(d)=>console.log(String(d)));`;
        expect((await world.netns.try("pwest", [process.execPath, "-e", script])).out).toBe("");
        const peers = events(west.logs.agent, "refused").map(({ peer }) => String(peer));
        expect(peers.filter((peer) => peer.startsWith(linkLocal))).not.toEqual([]);
        // What a dual-stack listener would take for the IPv4 address of a third pod.
        await west.api.put(PODS, pod("four", "four", "10.244.0.14", { node: west.node }));
        const forge = "type nat hook postrouting priority srcnat; tcp dport 80 snat to ::ffff:10.244.0.14";
        run("pwest", "nft -f -", `table ip6 forge { chain p { ${forge}; }; }\n`);
        expect((await curl(clusterIP)).out).toBe("");
        run("pwest", "nft delete table ip6 forge");
        await answers(clusterIP);
        expect(new Set(callers().split(","))).toEqual(
          new Set(["web", "batch"].map((account) => `spiffe://west.demo.mesh/ns/shop/sa/${account}`)),
        );
      },
    );

    it.runIf(plan.family === "IPv4")(
      "captures what is called by an IPv4 address within an IPv6 one",
      { timeout: 3 * WAIT_MS },
      async () => {
        const { clusterIP } = await derived();
        expect((await curl(`::ffff:${clusterIP}`)).out).toBe("cart of east");
      },
    );

    it("lets traffic flow the plain way within seconds when a permissive namespace's agent is killed", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      const west = find("west");
      const { clusterIP, listen } = await derived();
      // What kube-proxy does with the derived Service: it sends what nobody captured to a gateway.
      run(
        "nwest",
        "nft -f -",
        `table ${plan.nft} proxy {
  chain p {
    type nat hook prerouting priority dstnat;
    ${plan.nft} daddr ${clusterIP} tcp dport 80 dnat to ${hostOf(west.gatewayAt)}:${listen}
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
      timeout: 3 * WAIT_MS,
    }, async () => {
      const west = find("west");
      const { clusterIP } = await derived();
      await west.api.put(NAMESPACES, namespace("shop", { "isthmus.dev/mtls": "strict" }));
      west.agent = world.startAgent(west, west.logs.agent);
      await until("it is captured strictly", WAIT_MS, () =>
        run("nwest", `nft list map inet isthmus strict_${plan.nft}`).includes(clusterIP) ? true : undefined,
      );
      await answers(clusterIP);
      process.kill(await agentPid(west), "SIGKILL");
      await until("it is refused", 10_000, async () =>
        (await curl(clusterIP)).code === 7 ? true : undefined,
      );
      // Longer than any switch takes to open by itself.
      await new Promise((resolve) => setTimeout(resolve, 3_500));
      expect((await curl(clusterIP)).code).toBe(7);
      west.agent = world.startAgent(west, west.logs.agent);
      await answers(clusterIP);
    });

    it.each(["SIGINT", "SIGTERM"] as const)(
      "leaves nothing behind when it is ended by %s",
      { timeout: 3 * WAIT_MS },
      async (signal) => {
        const west = find("west");
        const { clusterIP } = await derived();
        if (!tableThere()) {
          west.agent = world.startAgent(west, west.logs.agent);
          await until("the rules are there", WAIT_MS, () => (tableThere() ? true : undefined));
        }
        process.kill(await agentPid(west), signal);
        await until("the table is gone", 10_000, () => (tableThere() ? undefined : true));
        await answers(clusterIP);
      },
    );
  },
);

/** `ip netns exec` replaces itself by the program: its process is the agent. */
async function agentPid({ agent }: CapturedCluster): Promise<number> {
  return until("the agent has a process", 5_000, () => agent.pid);
}
