import { describe, expect, it } from "vitest";
import { EndpointBalancer } from "../../gateway/dataplane/index.ts";
import { whyNotDialled } from "./inbound.ts";

const CART = { namespace: "shop", name: "cart", port: 80 };
const HERE = "10.244.0.10:8080";
const THERE = "10.244.1.10:8080";
const NOWHERE = "10.244.2.10:8080";

const why = (endpoint: string, mode: "strict" | "permissive" | undefined) => {
  const endpoints = new EndpointBalancer(() => 0);
  endpoints.set("cart.shop:80", [
    { address: HERE, node: "one" },
    { address: THERE, node: "two" },
    { address: NOWHERE },
  ]);
  const mesh = mode === undefined ? undefined : { node: "one", isStrict: () => mode === "strict" };
  return whyNotDialled(endpoints, CART, endpoint, mesh)?.name;
};

describe("what an agent dials for its gateways", () => {
  it("is an endpoint of the service, and nothing else", () => {
    for (const mode of ["strict", "permissive", undefined] as const)
      expect(why("10.244.0.10:22", mode)).toBe("no_endpoint");
  });

  it("is on its own node where the namespace is strict", () => {
    expect(why(HERE, "strict")).toBeUndefined();
    expect(why(THERE, "strict")).toBe("endpoint_unreachable");
    expect(why(NOWHERE, "strict")).toBe("endpoint_unreachable");
  });

  it("may be on another one elsewhere, and where nodes are not known", () => {
    for (const mode of ["permissive", undefined] as const)
      for (const endpoint of [HERE, THERE, NOWHERE]) expect(why(endpoint, mode)).toBeUndefined();
  });
});
