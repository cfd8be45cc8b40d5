import { describe, expect, it } from "vitest";
import { agentAddresses } from "../agent-addresses.ts";
import { SliceIndex } from "../slice-index.ts";
import { digestSlice, type KubeSlice, primarySlices, sliceEndpoints } from "./endpoint-slice.ts";

const slice = (name: string, addressType: string, endpoints: readonly object[]): KubeSlice => {
  const labels = { "kubernetes.io/service-name": "isthmus-agent" };
  const made = digestSlice({
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: { namespace: "isthmus-system", name, labels },
    addressType,
    ports: [{ name: "tunnel", port: 15_009, protocol: "TCP" }],
    endpoints,
  });
  if (made === undefined) throw new Error("it is one");
  return made;
};
const at = (address: string, nodeName?: string) => ({ addresses: [address], nodeName });

const V4 = slice("a-v4", "IPv4", [at("192.0.2.1", "one"), at("192.0.2.2", "two")]);
const V6 = slice("b-v6", "IPv6", [at("2001:DB8::1", "one"), at("2001:db8:0::3", "three"), at("2001:db8::9")]);

describe("the endpoints of a slice", () => {
  it("are told with their node, IPv6 addresses in brackets and in one spelling", () => {
    expect(sliceEndpoints(V6, "tunnel")).toEqual([
      { address: "[2001:db8::1]:15009", node: "one" },
      { address: "[2001:db8::3]:15009", node: "three" },
      { address: "[2001:db8::9]:15009", node: undefined },
    ]);
    expect(sliceEndpoints(V6, "other")).toEqual([]);
  });

  it("are those of the family that the Service names first, where it has any", () => {
    expect(primarySlices({ ipFamilies: ["IPv6", "IPv4"] }, [V4, V6])).toEqual([V6]);
    expect(primarySlices({ ipFamilies: ["IPv6"] }, [V4])).toEqual([V4]);
    expect(primarySlices({ ipFamilies: [] }, [V4, V6])).toEqual([V4, V6]);
  });

  it("are one agent for each node, of however many families", () => {
    const index = new SliceIndex();
    for (const each of [V6, V4]) index.change(each, undefined);
    expect(agentAddresses(index)).toEqual([
      { address: "192.0.2.1:15009", node: "one" },
      { address: "192.0.2.2:15009", node: "two" },
      { address: "[2001:db8::3]:15009", node: "three" },
      { address: "[2001:db8::9]:15009" },
    ]);
  });
});
