import { describe, expect, it } from "vitest";
import { type Interfaces, pickLanding } from "./landing.ts";

const info = (address: string, internal = false) => {
  const common = { address, netmask: "", mac: "", cidr: null, internal };
  return address.includes(":")
    ? ({ ...common, family: "IPv6", scopeid: 0 } as const)
    : ({ ...common, family: "IPv4" } as const);
};

const node: Interfaces = {
  lo: [info("127.0.0.1", true), info("::1", true)],
  eth0: [info("192.0.2.1"), info("fe80::1"), info("2001:db8::1")],
  cni0: [info("10.244.0.1"), info("fd00:244::1")],
};

describe("where captured connections are sent", () => {
  it("is the node's first address of each family", () => {
    expect(pickLanding(node, {})).toEqual({ ip4: "192.0.2.1", ip6: "2001:db8::1" });
  });

  it("stays as long as that address is there, and changes when it is gone", () => {
    const inForce = { ip4: "10.244.0.1", ip6: "fd00:244::9" };
    expect(pickLanding(node, inForce)).toEqual({ ip4: "10.244.0.1", ip6: "2001:db8::1" });
  });

  it("is never an address that is only valid on one interface", () => {
    const bare = { lo: node["lo"], v0: [info("169.254.1.1"), info("fe80::1")] };
    expect(pickLanding(bare, { ip4: "127.0.0.1", ip6: "fe80::1" })).toEqual({});
    expect(pickLanding({}, {})).toEqual({});
  });

  it("is an address of the loopback interface where the node has its own there alone", () => {
    const routed = { lo: [...(node["lo"] ?? []), info("198.51.100.1", true)], eth0: [info("fe80::1")] };
    expect(pickLanding(routed, {})).toEqual({ ip4: "198.51.100.1" });
    expect(pickLanding({ ...routed, eth1: [info("192.0.2.7")] }, {})).toEqual({ ip4: "192.0.2.7" });
  });
});
