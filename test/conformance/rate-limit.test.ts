import { describe, expect, it } from "vitest";
import { useRulesScene } from "./rules-scene.ts";

/** One row for every field of RateLimit, over the real path between two clusters. */
const ONE = [{ name: "a" }];

describe.each(["HTTP/1.1", "HTTP/2"] as const)("RateLimit, by %s", (protocol) => {
  const scene = useRulesScene(protocol);

  it("limit: lets 95 to 105 of a flood through each second", async () => {
    const { rules, calls, advance } = await scene(ONE);
    rules({ rateLimits: [{}] });
    const perSecond: number[] = [];
    for (let second = 0; second < 3; second++) {
      let passed = 0;
      for (let step = 0; step < 100; step++) {
        advance(10);
        passed += (await calls(2))["200 a"] ?? 0;
      }
      perSecond.push(passed);
    }
    for (const passed of perSecond) {
      expect(passed).toBeGreaterThanOrEqual(95);
      expect(passed).toBeLessThanOrEqual(105);
    }
  });

  it("limit.burst: lets so many through at once", async () => {
    const { rules, calls } = await scene(ONE);
    rules({ rateLimits: [{ burst: 7 }] });
    expect(await calls(10)).toEqual({ "200 a": 7, "429 ISTH-3301": 3 });
  });

  it("limit.unit: says in Retry-After when the next one may come, and it does", async () => {
    const { rules, call, advance } = await scene(ONE);
    rules({ rateLimits: [{ requests: 6, unitMs: 60_000, burst: 1 }] });
    expect((await call()).what).toBe("200 a");
    const { what, headers } = await call();
    expect([what, headers.get("retry-after")]).toEqual(["429 ISTH-3301", "10"]);
    advance(9_990);
    expect((await call()).what).toBe("429 ISTH-3301");
    advance(10);
    expect((await call()).what).toBe("200 a");
  });

  it("from.workload: leaves other workloads alone", async () => {
    const { rules, calls } = await scene(ONE);
    rules({ rateLimits: [{ burst: 1, from: [{ workload: "ns/shop/sa/batch" }] }] });
    expect(await calls(5)).toEqual({ "200 a": 5 });
    rules({ rateLimits: [{ burst: 1, from: [{ workload: "ns/shop/sa/*" }] }] });
    expect((await calls(5))["200 a"]).toBe(1);
  });

  it("from.header: counts only requests with that value", async () => {
    const { rules, calls } = await scene(ONE);
    rules({ rateLimits: [{ burst: 1, from: [{ header: { name: "x-tier", value: "free" } }] }] });
    expect(await calls(3, { "x-tier": "paid" })).toEqual({ "200 a": 3 });
    expect(await calls(3, { "x-tier": "free" })).toEqual({ "200 a": 1, "429 ISTH-3301": 2 });
  });

  it("version: counts only what goes to that version", async () => {
    const { rules, calls } = await scene([
      { name: "a", version: "v1" },
      { name: "b", version: "v2" },
    ]);
    const limit = { burst: 1, version: "v2" };
    rules({ rateLimits: [limit], rollouts: [{ weight: 0 }] });
    expect(await calls(4)).toEqual({ "200 a": 4 });
    rules({ rateLimits: [limit], rollouts: [{ weight: 100 }] });
    expect(await calls(4)).toEqual({ "200 b": 1, "429 ISTH-3301": 3 });
  });

  it("targetRefs.kind Service: counts only what goes to the owner's cluster", async () => {
    const { rules, calls } = await scene(ONE);
    rules({ rateLimits: [{ burst: 1, cluster: "north" }] });
    expect(await calls(4)).toEqual({ "200 a": 4 });
  });

  it("mode observe: counts and leaves traffic alone", async () => {
    const { rules, calls, metric } = await scene(ONE);
    rules({ rateLimits: [{ burst: 1, mode: "observe" }] });
    expect(await calls(5)).toEqual({ "200 a": 5 });
    expect(
      metric('isthmus_rule_verdicts_total{rule="west/shop/limit",verdict="limited",mode="observe"}'),
    ).toBe(4);
  });

  it("several limits: the strictest decides", async () => {
    const { rules, calls } = await scene(ONE);
    rules({ rateLimits: [{ burst: 5 }, { name: "west/shop/strict", burst: 2 }] });
    expect((await calls(5))["200 a"]).toBe(2);
  });

  it("a changed limit keeps what was spent", async () => {
    const { rules, calls } = await scene(ONE);
    rules({ rateLimits: [{ burst: 5 }] });
    await calls(5);
    rules({ rateLimits: [{ burst: 10 }] });
    expect(await calls(2)).toEqual({ "429 ISTH-3301": 2 });
  });
});
