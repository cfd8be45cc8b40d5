import { describe, expect, it, onTestFinished, vi } from "vitest";
import { EndpointBalancer, type Upstream } from "../dataplane/index.ts";
import { NodeAgents } from "./node-agents.ts";

/** As an upstream tells of its tunnels, without any. */
function scene() {
  let ready: readonly string[] = [];
  let addresses: readonly string[] = [];
  let tell = (): void => {};
  const upstream = {
    onReady: (listener: () => void) => ((tell = listener), () => {}),
    readyAddresses: () => ready,
    setAddresses: (given: readonly string[]) => (addresses = given),
  } as unknown as Upstream;
  const endpoints = new EndpointBalancer(() => 0);
  endpoints.set("cart.shop:80", [
    { address: "10.0.1.1:80", node: "one" },
    { address: "10.0.2.1:80", node: "two" },
  ]);
  const agents = new NodeAgents(upstream, endpoints);
  return {
    agents,
    dialled: () => addresses,
    stand: (...standing: readonly string[]) => {
      ready = standing;
      tell();
    },
    picked: () => {
      const picks = Array.from({ length: 4 }, () => endpoints.pick("cart.shop:80"));
      for (const pick of picks) pick?.release();
      return [...new Set(picks.map((pick) => pick?.node))].sort();
    },
    asked: (endpoint: string | undefined) => endpoints.pick("cart.shop:80", { endpoint })?.node,
    nameOf: (node: string) => {
      const picks = Array.from({ length: 4 }, () => endpoints.pick("cart.shop:80"));
      return picks.find((pick) => pick?.node === node)?.name;
    },
  };
}

const ONE = { address: "192.0.2.1:15009", node: "one" };
const TWO = { address: "192.0.2.2:15009", node: "two" };

describe("the agents of a cluster's nodes", () => {
  it("are each found by the node of an endpoint", () => {
    const { agents, dialled } = scene();
    agents.follow([ONE, TWO, { address: "192.0.2.9:15009" }]);
    expect(dialled()).toEqual([ONE.address, TWO.address, "192.0.2.9:15009"]);
    expect(agents.beside("two")).toBe(TWO.address);
    expect(agents.beside("three")).toBeUndefined();
    expect(agents.beside(undefined)).toBeUndefined();
  });

  it("have the endpoints of their node passed over while no tunnel leads to them", () => {
    const { agents, stand, picked } = scene();
    agents.follow([ONE, TWO]);
    stand(ONE.address);
    expect(picked()).toEqual(["one"]);
    stand(ONE.address, TWO.address);
    expect(picked()).toEqual(["one", "two"]);
  });

  it("are waited for when they are replaced, and not for ever when they are taken away", () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { agents, stand, picked } = scene();
    agents.follow([ONE, TWO]);
    stand(ONE.address, TWO.address);
    agents.follow([ONE]);
    expect(picked()).toEqual(["one"]);
    agents.follow([ONE, TWO]);
    expect(picked()).toEqual(["one", "two"]);
    agents.follow([ONE]);
    vi.advanceTimersByTime(299_999);
    expect(picked()).toEqual(["one"]);
    vi.advanceTimersByTime(1);
    expect(picked()).toEqual(["one", "two"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are awaited where there is nobody else, and where just that endpoint was asked for", () => {
    const { agents, stand, picked, asked, nameOf } = scene();
    agents.follow([ONE, TWO]);
    expect(picked()).toEqual(["one", "two"]);
    const two = nameOf("two");
    stand(ONE.address);
    expect(asked(two)).toBe("two");
    expect(asked(undefined)).toBe("one");
  });

  it("do not take the load of nodes that never had one", () => {
    const { agents, stand, picked } = scene();
    agents.follow([ONE]);
    stand(ONE.address);
    expect(picked()).toEqual(["one", "two"]);
  });
});
