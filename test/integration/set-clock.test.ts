import { describe, expect, it } from "vitest";
import { useRulesScene } from "../conformance/rules-scene.ts";
import { until } from "../fakes/until.ts";

const HOUR_MS = 3_600_000;
// No more than what certificates of just now allow.
const HALF_MINUTE_MS = 30_000;
// Longer than a listener takes to look at its deadlines.
const TICK_MS = 1_500;

/** The clock of the machine is set by `clock.set`; time itself passes as always. */
function machine() {
  let offset = 0;
  const clock = { set: (ms: number) => void (offset = ms) };
  return { clock, now: () => Date.now() + offset, monotonicMs: () => performance.now() };
}

describe.each(["HTTP/1.1", "HTTP/2"] as const)("a machine whose clock is set, by %s", (protocol) => {
  const scene = useRulesScene(protocol);

  it("goes on with the requests under way, an hour forwards", async () => {
    const { clock, ...time } = machine();
    const { call, workload } = await scene([{ name: "a" }], time);
    workload("a").behave("silent");
    const waiting = call();
    await until("it is under way", 2_000, () => (workload("a").served === 1 ? true : undefined));
    clock.set(HOUR_MS);
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
    workload("a").behave(200);
    workload("a").release();
    expect((await waiting).what).toBe("200 a");
  });

  it("asks ejected endpoints again in time, half a minute backwards", async () => {
    const { clock, ...time } = machine();
    const { rules, crowd, workload } = await scene([{ name: "a" }, { name: "b" }], time);
    const outlier = {
      consecutiveErrors: 2,
      baseEjectionMs: 200,
      maxEjectionMs: 200,
      maxEjectionPercent: 50,
    };
    rules({ backends: [{ outlier }] });
    workload("b").behave(500);
    await crowd(40);
    workload("b").behave(200);
    clock.set(-HALF_MINUTE_MS);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect((await crowd(40))["200 b"]).toBeGreaterThan(0);
  });
});
