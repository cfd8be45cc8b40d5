import type { ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NAMESPACES } from "../../agents/kubernetes/api/resource-type.ts";
import { CaptureWorld, IPV4_PLAN } from "../fakes/capture-world.ts";
import { whyNoNetns } from "../fakes/netns.ts";
import { until } from "../fakes/until.ts";
import { namespace } from "./objects.ts";

const reason =
  process.env["ISTHMUS_TEST_CAPTURE"] === undefined
    ? "npm run test:capture runs it: it takes root and half a minute"
    : whyNoNetns();

// A process takes two seconds to start, and ten where others use the machine.
const WAIT_MS = 60_000;
const PODS = "10.244.1.0/24";
const SECOND = "10.244.1.10";
const [FIRST_NODE, SECOND_NODE] = [IPV4_PLAN.outside(11), IPV4_PLAN.outside(13)];

/** `cart` runs on both nodes of east, whose namespace `shop` is strict; west calls it. */
describe.skipIf(reason !== undefined)(
  `the last hop to a cluster of two nodes${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    let world: CaptureWorld;
    let secondAgent: ChildProcess;
    const mode = (mtls: "strict" | "permissive") =>
      world.cluster("east").api.put(NAMESPACES, namespace("shop", { "isthmus.dev/mtls": mtls }));
    const secondIsOn = (node: string) =>
      world.tellEndpoints(world.cluster("east").api, "cart", [
        { address: IPV4_PLAN.pod, node: "neast" },
        { address: SECOND, node },
      ]);
    const call = async (from: "east" | "west" = "west"): Promise<string> => {
      const { clusterIP } = await world.derived(from);
      return (await world.netns.try(`p${from}`, ["curl", "-s", "-m", "3", `http://${clusterIP}/`])).out;
    };
    const calls = async (count: number, from: "east" | "west" = "west"): Promise<readonly string[]> => {
      const answers: string[] = [];
      for (let turn = 0; turn < count; turn++) answers.push(await call(from));
      return [...new Set(answers)].sort();
    };
    /** The second pod, called from its own node: from the address that faces it. */
    const BESIDE = `cart saw ::ffff:${IPV4_PLAN.gateway}`;
    /** The same, called over the network. */
    const FROM_AFAR = `cart saw ::ffff:${FIRST_NODE}`;

    beforeAll(async () => {
      world = new CaptureWorld(IPV4_PLAN, { name: "bytes", appProtocol: "tcp" });
      await world.start();
      const east = world.cluster("east");
      await mode("strict");
      secondAgent = await world.addNode(east, 13, PODS, SECOND);
      const serve = `require("http").createServer((q,s)=>s.end("cart saw "+q.socket.remoteAddress)).listen(8080)`;
      world.netns.spawn("qeast", [process.execPath, "-e", serve], {}, []);
      await world.tellEndpoints(east.api, "isthmus-agent", [
        { address: FIRST_NODE, node: "neast" },
        { address: SECOND_NODE, node: "neast2" },
      ]);
      await secondIsOn("neast2");
      await until("both are called", WAIT_MS, async () =>
        (await calls(8)).join() === ["cart of east", BESIDE].join() ? true : undefined,
      );
    }, 3 * WAIT_MS);
    afterAll(() => world.stop());

    it("is from each pod's own node, so that a strict namespace takes every call", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      expect(await calls(30)).toEqual(["cart of east", BESIDE]);
    });

    it("leads to the pods of the other node while one's agent is gone, without a failed call", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      const lost = () =>
        world
          .cluster("east")
          .logs.gateway.filter((line) => line.includes("tunnel_down") && line.includes(SECOND_NODE)).length;
      const before = lost();
      process.kill(await until("a process", 5_000, () => secondAgent.pid), "SIGKILL");
      // Two tunnels lead to each agent.
      await until("the gateway knows", WAIT_MS, () => (lost() >= before + 2 ? true : undefined));
      expect(await calls(20)).toEqual(["cart of east"]);
    });

    it("is never a plain one between nodes where the namespace is strict", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      await secondIsOn("a-node-that-never-had-an-agent");
      await until("it is tried by way of the first agent, which refuses", WAIT_MS, async () =>
        (await call()) === "" ? true : undefined,
      );
      expect(await calls(20)).toEqual(["cart of east"]);
    });

    it("is a plain one from another node where the namespace is permissive", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      await mode("permissive");
      // The guard went with nobody: its agent was killed.
      world.netns.run("neast2", "nft delete table inet isthmus");
      await until("both are called", WAIT_MS, async () =>
        (await calls(8)).join() === ["cart of east", FROM_AFAR].join() ? true : undefined,
      );
    });

    it("is within the caller's own cluster where that exports the service, alone or with others", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      const { api } = world.cluster("east");
      const own = { address: IPV4_PLAN.pod, node: "neast" };
      await world.tellEndpoints(api, "cart", [own]);
      await until("east calls itself", WAIT_MS, async () =>
        (await call("east")) === "cart of east" ? true : undefined,
      );
      await world.exportCart("west");
      // What became ready takes over along a ramp (decision 17): for a moment some calls still go to the other cluster.
      for (const name of ["west", "east"] as const)
        await until(`${name} calls nobody but itself`, WAIT_MS, async () =>
          (await calls(12, name)).join() === `cart of ${name}` ? true : undefined,
        );
    });

    it("is in another cluster when the caller's own has no endpoint any more, and at home when it has again", {
      timeout: 3 * WAIT_MS,
    }, async () => {
      const { api, node } = world.cluster("west");
      await world.tellEndpoints(api, "cart", []);
      await until("west calls east", WAIT_MS, async () =>
        (await call("west")) === "cart of east" ? true : undefined,
      );
      expect(await calls(12, "west")).toEqual(["cart of east"]);
      await world.tellEndpoints(api, "cart", [{ address: IPV4_PLAN.pod, node }]);
      await until("west calls itself again", WAIT_MS, async () =>
        (await call("west")) === "cart of west" ? true : undefined,
      );
    });
  },
);
