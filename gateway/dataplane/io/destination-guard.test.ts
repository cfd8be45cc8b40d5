import { describe, expect, it } from "vitest";
import type { SnapshotBackend } from "../../../federation/model/snapshot.ts";
import { BACKEND, OUTLIER } from "../../../test/fakes/guarded-entry.ts";
import { westSnapshot } from "../../../test/fakes/rules.ts";
import { compileRuleTables } from "../policy/rule-tables.ts";
import type { Waiter } from "./connection-queue.ts";
import { DestinationGuard } from "./destination-guard.ts";

const WAITER: Waiter = { tryAgain: () => true, client: "here" };
const FAILBACK = { delayMs: 1_000, rampMs: 0 };

function guardWith(rule: Partial<SnapshotBackend>): DestinationGuard {
  const guard = new DestinationGuard("east.test.mesh");
  const rules = { rateLimits: [], backends: [{ ...BACKEND, ...rule }], rollouts: [] };
  guard.rule = compileRuleTables(westSnapshot({ rules })).get("cart.shop")?.backends[0];
  expect(guard.rule).toBeDefined();
  return guard;
}

describe("the circuit of a destination", () => {
  it("breaks with as many requests as are allowed, and only those", () => {
    const guard = guardWith({ circuit: { maxParallelRequests: 2 } });
    guard.load.requests = 1;
    expect(guard.brokenBound).toBeUndefined();
    guard.load.requests = 2;
    expect(guard.brokenBound).toBe("maxParallelRequests");
  });

  it("bounds connections, and lets those who wait go one by one, the first one first", () => {
    const guard = guardWith({ circuit: { maxConnections: 1, maxPendingRequests: 2 } });
    const went: string[] = [];
    expect(guard.mayConnect).toBe(true);
    guard.connected();
    expect(guard.mayConnect).toBe(false);
    const connect = (name: string): Waiter => ({
      tryAgain: () => {
        if (!guard.mayConnect) return true;
        guard.connected();
        went.push(name);
        return false;
      },
      client: "here",
    });
    expect(["a", "b", "c"].map((name) => guard.wait(connect(name)))).toEqual([true, true, false]);
    guard.disconnected();
    expect([went, guard.load.pending, guard.mayConnect]).toEqual([["a"], 1, false]);
    guard.idle();
    guard.disconnected();
    expect([went, guard.load.pending]).toEqual([["a", "b"], 0]);
    expect(guard.wait(WAITER)).toBe(true);
  });

  it("has no more who wait than it may, even if one gives way and comes again", () => {
    const guard = guardWith({ circuit: { maxConnections: 1, maxPendingRequests: 1 } });
    const came: boolean[] = [];
    const ended: Waiter = { ...WAITER, client: "ended", giveWay: () => void came.push(guard.wait(WAITER)) };
    came.push(guard.wait(ended), guard.wait(WAITER));
    expect([came, guard.load.pending]).toEqual([[true, true, false], 1]);
  });

  it("does not bound what only an observing rule would", () => {
    const guard = guardWith({ mode: "observe", circuit: { maxConnections: 1 } });
    guard.connected();
    expect(guard.mayConnect).toBe(true);
  });

  it("lets 4,096 wait where no rule says how many", () => {
    const guard = guardWith({ circuit: { maxConnections: 1 } });
    const waiting = Array.from({ length: 4_097 }, () => guard.wait(WAITER));
    expect(waiting.filter(Boolean)).toHaveLength(4_096);
    expect(waiting.at(-1)).toBe(false);
  });
});

describe("the retry budget of a destination", () => {
  it("is a part of its requests, and its minimum for a whole interval", () => {
    const retry = { percent: 10, intervalMs: 10_000, minCount: 1, minIntervalMs: 5_000 };
    const guard = guardWith({ retry });
    const allowed = (): number =>
      Array.from({ length: 20 }, () => guard.hasRetryLeft(0)).filter(Boolean).length;
    expect(allowed()).toBe(2);
    for (let request = 0; request < 50; request++) guard.requested(0);
    expect(allowed()).toBe(3);
  });

  it("is without end where no rule has one", () => {
    const guard = guardWith({});
    expect(Array.from({ length: 100 }, () => guard.hasRetryLeft(0)).every(Boolean)).toBe(true);
  });
});

describe("the outliers of a destination", () => {
  const fail = (guard: DestinationGuard, name: string, total = 4, now = 0): boolean =>
    [1, 2].map(() => guard.judge(name, "failure", now, total)).includes(true);

  it("are ejected after so many failures in a row, are told of once, and are asked again after a while", () => {
    const guard = guardWith({ outlier: OUTLIER });
    const heard: string[] = [];
    const forget = guard.onEject((name) => heard.push(name));
    expect([guard.judge("a", "failure", 0, 4), guard.judge("a", "success", 0, 4)]).toEqual([false, false]);
    expect(guard.judge("a", "failure", 0, 4)).toBe(false);
    expect(guard.hasEjected).toBe(false);
    expect(guard.judge("a", "failure", 0, 4)).toBe(true);
    expect(guard.judge("a", "failure", 0, 4)).toBe(false);
    expect([heard, guard.hasEjected, guard.avoided(999)]).toEqual([["a"], true, "a"]);
    expect([guard.isEjected("a", 999), guard.isEjected("b", 999), guard.isEjected(undefined, 999)]).toEqual([
      true,
      false,
      false,
    ]);
    const { generation } = guard;
    expect([guard.isEjected("a", 1_000), guard.avoided(1_000), guard.hasEjected]).toEqual([
      false,
      undefined,
      false,
    ]);
    // Streams that go around it are given up.
    expect(guard.generation).toBe(generation + 1);
    forget();
    expect(guard.judge("a", "failure", 1_000, 4)).toBe(true);
    expect(heard).toEqual(["a"]);
    // It was on trial: out for twice as long.
    expect([guard.isEjected("a", 2_999), guard.isEjected("a", 3_000)]).toEqual([true, false]);
  });

  it("are never more than the part that the rule allows, nor all of them", () => {
    const guard = guardWith({ outlier: OUTLIER });
    expect([fail(guard, "a"), fail(guard, "b"), fail(guard, "c")]).toEqual([true, true, false]);
    expect(guard.avoided(0)).toBe("a,b");
    const all = guardWith({ outlier: { ...OUTLIER, maxEjectionPercent: 100 } });
    expect([fail(all, "a", 2), fail(all, "b", 2)]).toEqual([true, false]);
    // Of a total that is not known, as many as have answered are believed: one is never all.
    const unknown = guardWith({ outlier: { ...OUTLIER, maxEjectionPercent: 100 } });
    expect([fail(unknown, "a", 0), fail(unknown, "b", 0), fail(unknown, "a", 0)]).toEqual([
      false,
      true,
      false,
    ]);
  });

  it("of an observing rule are counted, and are neither told of nor avoided", () => {
    const guard = guardWith({ mode: "observe", outlier: OUTLIER });
    const heard: string[] = [];
    guard.onEject((name) => heard.push(name));
    expect(fail(guard, "a")).toBe(true);
    expect([heard, guard.avoided(0), guard.isEjected("a", 0)]).toEqual([[], undefined, false]);
    for (let count = 0; count < 3; count++) guard.judge(undefined, "failure", 0, 4);
    expect(guard.weigh({ ready: 4, total: 4 }, 0, FAILBACK).rawReadiness).toBe(1);
  });

  it("are not judged where no rule asks for it", () => {
    const guard = guardWith({});
    expect([guard.judges, fail(guard, "a"), guard.avoided(0)]).toEqual([false, false, undefined]);
  });

  it("are remembered, also when many others answered well since", () => {
    const guard = guardWith({ outlier: OUTLIER });
    fail(guard, "a", 10_000);
    for (let at = 0; at < 5_000; at++) guard.judge(`other-${at}`, "failure", 0, 10_000);
    expect(guard.isEjected("a", 999)).toBe(true);
  });

  it("are no longer avoided once their time is over, also where nobody else asked", () => {
    const guard = guardWith({ outlier: OUTLIER });
    fail(guard, "a");
    expect([guard.avoided(999), guard.avoided(1_000)]).toEqual(["a", undefined]);
  });

  it("stand beside 4,096 endpoints at most, of which the part that may be ejected is reckoned", () => {
    const guard = guardWith({ outlier: { ...OUTLIER, maxEjectionPercent: 1 } });
    for (let at = 0; at < 5_000; at++) guard.judge(`well-${at}`, "success", 0, 0);
    const ejected = Array.from({ length: 60 }, (_, at) => fail(guard, `bad-${at}`, 0)).filter(Boolean);
    expect(ejected).toHaveLength(40);
  });

  it("are named to the far gateway only as far as its header has room", () => {
    const guard = guardWith({ outlier: { ...OUTLIER, maxEjectionPercent: 100 } });
    for (let at = 0; at < 100; at++) fail(guard, `e${at}`, 200);
    expect(guard.avoided(0)?.split(",")).toHaveLength(64);
  });
});

describe("what counts of a destination's readiness", () => {
  it("is all of it while nothing is known, its ready part then, and nothing without an endpoint", () => {
    const guard = guardWith({});
    expect(guard.weigh(undefined, 0, FAILBACK).readiness).toBe(1);
    expect(guard.weigh({ ready: 1, total: 4 }, 0, FAILBACK).readiness).toBe(0.25);
    expect(guard.weigh({ ready: 0, total: 0 }, 0, FAILBACK).readiness).toBe(0);
  });

  it("is lost at once and held back when it returns, which only the raw part tells", () => {
    const guard = guardWith({});
    const at = (now: number, ready: number) => guard.weigh({ ready, total: 2 }, now, FAILBACK);
    expect(at(0, 0)).toEqual({ readiness: 0, rawReadiness: 0 });
    expect(at(1, 2)).toEqual({ readiness: 0, rawReadiness: 1 });
    expect(at(1_000, 2).readiness).toBe(0);
    expect(at(1_001, 2).readiness).toBe(1);
  });

  it("is nothing once the service there as a whole fails, until its ejection is over", () => {
    const guard = guardWith({ outlier: OUTLIER });
    const at = (now: number) => guard.weigh({ ready: 2, total: 2 }, now, { delayMs: 0, rampMs: 0 });
    for (const now of [0, 0]) guard.judge(undefined, "failure", now, 2);
    expect(at(999).rawReadiness).toBe(0);
    at(1_000);
    expect(at(1_001)).toEqual({ readiness: 1, rawReadiness: 1 });
  });

  it("makes streams look anew only when endpoints come, not when they go", () => {
    const guard = guardWith({});
    const generations = [2, 1, 1, 3].map((ready) => {
      guard.heard({ ready, total: 3 });
      return guard.generation;
    });
    expect([guard.ready, guard.endpoints]).toEqual([3, 3]);
    expect(generations).toEqual([1, 1, 1, 2]);
  });
});
