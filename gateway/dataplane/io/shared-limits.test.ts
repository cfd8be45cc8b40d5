import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { LimitRule } from "../policy/rule-tables.ts";
import { SharedLimits } from "./shared-limits.ts";

const RATE = { perMs: 0.1, burst: 5 };
const LIMIT: LimitRule = {
  name: "west/shop/limit",
  observe: false,
  destination: undefined,
  key: "west/shop/limit cart.shop",
  version: undefined,
  from: [],
  rate: RATE,
  shared: true,
};

describe("shared limits", () => {
  const open: SharedLimits[] = [];
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => {
    vi.useRealTimers();
    for (const one of open.splice(0)) one.close();
  });

  function member(self: string, leads: boolean, rate: typeof RATE | "none" = RATE) {
    let now = 0;
    const asked: string[] = [];
    const granted: string[] = [];
    const limits = new SharedLimits({
      self,
      leads,
      now: () => now,
      members: () => 2,
      rateOf: () => (rate === "none" ? undefined : rate),
      ask: (leader, _key, wanted) => asked.push(`${leader} ${wanted}`),
      grant: (to, _key, tokens) => granted.push(`${to} ${tokens}`),
    });
    open.push(limits);
    const limiter = limits.limiter(LIMIT);
    return {
      limits,
      asked,
      granted,
      passes: (ms: number) => {
        now += ms;
        vi.advanceTimersByTime(ms);
        let count = 0;
        while (limiter.take(now) === 0) count += 1;
        return count;
      },
    };
  }

  it("go by an equal share while no gateway can be asked", () => {
    const { passes, asked } = member("agent-1", false);
    // Half of 100 a second, and of its burst.
    expect([passes(20), passes(1_000)]).toEqual([1, 2]);
    expect(asked).toEqual([]);
  });

  it("ask the leader as soon as there is one, and spend what it grants", () => {
    const { limits, passes, asked } = member("agent-1", false);
    limits.leaderCame("gateway-1");
    expect(asked).toEqual(["gateway-1 5"]);
    expect(passes(0)).toBe(0);
    limits.granted(LIMIT.key, 4);
    expect(passes(0)).toBe(4);
  });

  it("ask the next one when the leader goes, and fall back when the last one does", () => {
    const { limits, passes, asked } = member("agent-1", false);
    for (const name of ["gateway-1", "gateway-2"]) limits.leaderCame(name);
    const first = asked.at(-1)?.split(" ")[0] ?? "";
    limits.leaderWent(first);
    const next = asked.at(-1)?.split(" ")[0];
    expect(new Set([first, next])).toEqual(new Set(["gateway-1", "gateway-2"]));
    limits.leaderWent(next ?? "");
    expect(passes(20)).toBe(1);
  });

  it("are led by a gateway for itself where it is alone", () => {
    const { passes, asked } = member("gateway-1", true);
    passes(0);
    const passed = Array.from({ length: 100 }, () => passes(10)).reduce((sum, count) => sum + count, 0);
    expect(passed).toBeGreaterThanOrEqual(95);
    expect(passed).toBeLessThanOrEqual(105);
    expect(asked).toEqual([]);
  });

  it("are granted to members that ask, and not for a limit that nobody knows", () => {
    const leader = member("gateway-1", true);
    leader.passes(100);
    leader.limits.asked("agent-1", LIMIT.key, 3, 0);
    for (let step = 0; step < 10; step++) leader.passes(10);
    expect(leader.granted.length).toBeGreaterThan(0);
    const ignorant = member("gateway-1", true, "none");
    ignorant.limits.asked("agent-1", "unknown", 3, 0);
    expect(ignorant.granted).toEqual([]);
  });
});
