import { describe, expect, it } from "vitest";
import { ofFamily } from "./endpoint-family.ts";

const of = (...addresses: readonly string[]) => addresses.map((address) => ({ address, local: true }));

describe("the endpoints of a call inside the cluster", () => {
  const both = of("10.244.1.10:80", "[fd00:244:1::10]:80");

  it("are of the family that was called", () => {
    expect(ofFamily(both, { remoteAddress: "10.244.0.10" })).toEqual(of("10.244.1.10:80"));
    expect(ofFamily(both, { remoteAddress: "::ffff:10.244.0.10" })).toEqual(of("10.244.1.10:80"));
    expect(ofFamily(both, { remoteAddress: "fd00:244::10" })).toEqual(of("[fd00:244:1::10]:80"));
  });

  it("are those of the other one where there are no others", () => {
    expect(ofFamily(of("10.244.1.10:80"), { remoteAddress: "fd00:244::10" })).toEqual(of("10.244.1.10:80"));
    expect(ofFamily([], { remoteAddress: "fd00:244::10" })).toEqual([]);
  });
});
