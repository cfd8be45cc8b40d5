import { describe, expect, it } from "vitest";
import { InterimAllowance } from "./interim-allowance.ts";

/** How many of `count`, one every `everyMs`, pass before the first that does not. */
function passed(count: number, everyMs: number): number {
  const allowance = new InterimAllowance(5_000);
  for (let sent = 0; sent < count; sent++)
    if (allowance.take(5_000 + sent * everyMs) !== undefined) return sent;
  return count;
}

describe("interim answers to one request", () => {
  it("are as many as a service likes that sends some a second", () => {
    expect([passed(10_000, 3_000), passed(10_000, 100)]).toEqual([10_000, 10_000]);
  });

  it("are 64 at once, and then ten a second", () => {
    expect([passed(100, 0), passed(200, 50)]).toEqual([64, 127]);
  });

  it("are refused by name beyond that", () => {
    const allowance = new InterimAllowance(0);
    for (let sent = 0; sent < 64; sent++) allowance.take(0);
    expect(allowance.take(0)).toMatchObject({ name: "upstream_malformed" });
    expect([allowance.take(1_000), allowance.take(0)]).toEqual([undefined, undefined]);
  });
});
