import { describe, expect, it } from "vitest";
import { EndpointBalancer } from "./endpoint-balancer.ts";

const A = "127.0.0.1:1";
const B = "127.0.0.1:2";

const of = (...addresses: readonly string[]) => addresses.map((address) => ({ address }));

const balancer = (services: Record<string, readonly string[]>, random = 0) => {
  const made = new EndpointBalancer(() => random);
  for (const [service, addresses] of Object.entries(services)) made.set(service, of(...addresses));
  return made;
};

describe("the balancer of endpoints", () => {
  it("has nothing for a service that is not there or has no endpoints", () => {
    const endpoints = balancer({ "cart.shop:80": [] });
    expect(endpoints.pick("cart.shop:80")).toBeUndefined();
    expect(endpoints.pick("other.shop:80")).toBeUndefined();
  });

  it("gives the endpoint with fewer connections", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    expect(endpoints.pick("cart.shop:80")?.address).toBe(A);
    expect(endpoints.pick("cart.shop:80")?.address).toBe(B);
    expect(endpoints.pick("cart.shop:80")?.address).toBe(A);
  });

  it("counts a connection until it is released", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    const first = endpoints.pick("cart.shop:80");
    const second = endpoints.pick("cart.shop:80");
    expect([first?.address, second?.address]).toEqual([A, B]);
    second?.release();
    expect(endpoints.pick("cart.shop:80")?.address).toBe(B);
  });

  it("keeps the counts of endpoints that stay when the list is replaced", () => {
    const endpoints = balancer({ "cart.shop:80": [A] });
    endpoints.pick("cart.shop:80");
    endpoints.set("cart.shop:80", of(A, B));
    expect(endpoints.pick("cart.shop:80")?.address).toBe(B);
  });

  it("takes no offence at a release after its endpoint is gone", () => {
    const endpoints = balancer({ "cart.shop:80": [A] });
    const picked = endpoints.pick("cart.shop:80");
    endpoints.set("cart.shop:80", of());
    picked?.release();
    endpoints.set("cart.shop:80", of(A));
    expect(endpoints.pick("cart.shop:80")?.address).toBe(A);
  });

  it("knows which addresses a service really has", () => {
    const endpoints = balancer({ "cart.shop:80": [A], "other.shop:80": [B] });
    expect(endpoints.has("cart.shop:80", A)).toBe(true);
    expect(endpoints.has("cart.shop:80", B)).toBe(false);
    expect(endpoints.has("gone.shop:80", A)).toBe(false);
  });

  it("gives only endpoints of the version that is asked for", () => {
    const endpoints = balancer({});
    endpoints.set("cart.shop:80", [
      { address: A, version: "v1" },
      { address: B, version: "v2" },
    ]);
    expect(endpoints.pick("cart.shop:80", "v2")?.address).toBe(B);
    expect(endpoints.pick("cart.shop:80", "v2")?.address).toBe(B);
    expect(endpoints.pick("cart.shop:80", "v3")).toBeUndefined();
    expect(endpoints.pick("cart.shop:80")?.address).toBe(A);
  });
});
