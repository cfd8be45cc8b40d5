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
    expect(endpoints.find("cart.shop:80", A)).toBeDefined();
    expect(endpoints.find("cart.shop:80", B)).toBeUndefined();
    expect(endpoints.find("gone.shop:80", A)).toBeUndefined();
  });

  it("gives only endpoints of the version that is asked for", () => {
    const endpoints = balancer({});
    endpoints.set("cart.shop:80", [
      { address: A, version: "v1" },
      { address: B, version: "v2" },
    ]);
    expect(endpoints.pick("cart.shop:80", { version: "v2" })?.address).toBe(B);
    expect(endpoints.pick("cart.shop:80", { version: "v2" })?.address).toBe(B);
    expect(endpoints.pick("cart.shop:80", { version: "v3" })).toBeUndefined();
    expect(endpoints.pick("cart.shop:80")?.address).toBe(A);
  });

  it("passes over endpoints that did not accept a connection, until a probe says that they do", () => {
    const heard: string[] = [];
    const endpoints = new EndpointBalancer(
      () => 0,
      (service) => heard.push(service),
    );
    endpoints.set("cart.shop:80", of(A, B));
    const first = endpoints.pick("cart.shop:80");
    first?.failed();
    first?.release();
    expect(endpoints.readiness("cart.shop:80")).toEqual({ ready: 1, total: 2 });
    expect([1, 2, 3].map(() => endpoints.pick("cart.shop:80")?.address)).toEqual([B, B, B]);
    expect(endpoints.unready()).toEqual([{ service: "cart.shop:80", address: A }]);
    endpoints.probed("cart.shop:80", A, true);
    expect(endpoints.pick("cart.shop:80")?.address).toBe(A);
    expect(endpoints.unready()).toEqual([]);
    expect(heard).toHaveLength(3);
  });

  it("knows how many of each version accept", () => {
    const endpoints = new EndpointBalancer(() => 0);
    endpoints.set("cart.shop:80", [
      { address: A, version: "v1" },
      { address: B, version: "v2" },
    ]);
    endpoints.pick("cart.shop:80", { version: "v1" })?.failed();
    expect(["v1", "v2", "v3"].map((version) => endpoints.readiness("cart.shop:80", version))).toEqual([
      { ready: 0, total: 1 },
      { ready: 1, total: 1 },
      { ready: 0, total: 0 },
    ]);
    expect(endpoints.versions("cart.shop:80")).toEqual(["v1", "v2"]);
  });

  it("tries all of them when none accepts: what is known may be old", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    for (const _ of [A, B]) endpoints.pick("cart.shop:80")?.failed();
    expect(endpoints.readiness("cart.shop:80")).toEqual({ ready: 0, total: 2 });
    expect(endpoints.pick("cart.shop:80")).toBeDefined();
  });

  it("forgets an unready endpoint that is gone", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    endpoints.pick("cart.shop:80")?.failed();
    endpoints.set("cart.shop:80", of(B));
    expect(endpoints.unready()).toEqual([]);
  });

  it("gives the endpoint that is wished for, however loaded, and another when that is gone", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    const name = endpoints.pick("cart.shop:80")?.name;
    const wish = { endpoint: name };
    expect([1, 2, 3].map(() => endpoints.pick("cart.shop:80", wish)?.address)).toEqual([A, A, A]);
    endpoints.set("cart.shop:80", of(B));
    expect(endpoints.pick("cart.shop:80", wish)?.address).toBe(B);
  });

  it("gives a class of sessions always the same endpoint, and the classes different ones", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    const of256 = Array.from({ length: 256 }, (_, index) => `~${index}`);
    const picked = () => of256.map((endpoint) => endpoints.pick("cart.shop:80", { endpoint })?.address);
    const first = picked();
    expect(picked()).toEqual(first);
    const toA = first.filter((address) => address === A).length;
    expect(toA).toBeGreaterThan(90);
    expect(toA).toBeLessThan(166);
  });

  it("avoids what the caller's side finds failing, unless that is all there is", () => {
    const endpoints = balancer({ "cart.shop:80": [A, B] });
    const first = endpoints.pick("cart.shop:80");
    const avoid = first?.name;
    expect([1, 2].map(() => endpoints.pick("cart.shop:80", { avoid })?.address)).toEqual([B, B]);
    endpoints.set("cart.shop:80", of(A));
    expect(endpoints.pick("cart.shop:80", { avoid })?.address).toBe(A);
  });

  it("tells of readiness when it changes, and not when what was known is said again", () => {
    const heard: string[] = [];
    const endpoints = new EndpointBalancer(
      () => 0,
      (service) => heard.push(service),
    );
    endpoints.set("cart.shop:80", of(A, B));
    for (const ready of [true, false, false, true, true]) endpoints.probed("cart.shop:80", A, ready);
    expect(heard).toHaveLength(3);
  });
});
