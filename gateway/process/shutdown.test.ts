import { describe, expect, it } from "vitest";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { createShutdown, RUNNING, type ShutdownEvent, type ShutdownState, transition } from "./shutdown.ts";

const TIMES = { lameDuckMs: 1000, drainMs: 5000 };
const LAME: ShutdownState = { kind: "lame_duck", untilMs: 1000 };
const DRAINING: ShutdownState = { kind: "draining", untilMs: 6000 };
const STOPPED: ShutdownState = { kind: "stopped" };

describe("transition", () => {
  const rows: readonly [ShutdownState, ShutdownEvent, number, ShutdownState][] = [
    [RUNNING, "sigterm", 0, LAME],
    [RUNNING, "sigint", 0, STOPPED],
    [RUNNING, "tick", 0, RUNNING],
    [RUNNING, "drained", 0, RUNNING],
    [LAME, "sigterm", 10, STOPPED],
    [LAME, "sigint", 10, STOPPED],
    [LAME, "tick", 999, { kind: "draining", untilMs: 5999 }],
    [LAME, "tick", 1000, DRAINING],
    [LAME, "drained", 10, LAME],
    [LAME, "relieved", 0, { kind: "draining", untilMs: 5000 }],
    [RUNNING, "relieved", 0, RUNNING],
    [DRAINING, "relieved", 2000, DRAINING],
    [STOPPED, "relieved", 0, STOPPED],
    [DRAINING, "sigterm", 2000, STOPPED],
    [DRAINING, "sigint", 2000, STOPPED],
    [DRAINING, "tick", 6000, STOPPED],
    [DRAINING, "drained", 2000, STOPPED],
    [STOPPED, "sigterm", 0, STOPPED],
    [STOPPED, "sigint", 0, STOPPED],
    [STOPPED, "tick", 0, STOPPED],
    [STOPPED, "drained", 0, STOPPED],
  ];
  it.each(rows)("%j on %s at %i becomes %j", (from, event, now, to) => {
    expect(transition(from, event, now, TIMES)).toEqual(to);
    if (from.kind === to.kind) expect(transition(from, event, now, TIMES)).toBe(from);
  });
});

function scene() {
  const clock = createManualClock();
  const log: string[] = [];
  let finish = (): void => {};
  let fail = (_: Error): void => {};
  const shutdown = createShutdown(clock, TIMES, {
    lameDuck: () => void log.push("lame duck"),
    drain() {
      log.push("drain");
      return new Promise((resolve, reject) => {
        finish = resolve;
        fail = reject;
      });
    },
    stop: ({ drained }) => void log.push(drained ? "stop drained" : "stop"),
  });
  return { clock, log, shutdown, finish: () => finish(), fail: () => fail(new Error("broken")) };
}

describe("createShutdown", () => {
  it("accepts for a second after SIGTERM, drains, and stops when the last request is done", async () => {
    const { clock, log, shutdown, finish } = scene();
    shutdown.handle("sigterm");
    clock.advance(999);
    expect(log).toEqual(["lame duck"]);
    clock.advance(1);
    expect(log).toEqual(["lame duck", "drain"]);
    finish();
    await clock.advanceAsync(0);
    expect(log).toEqual(["lame duck", "drain", "stop drained"]);
    expect(clock.pending).toBe(0);
  });

  it("stops at the deadline when a request never ends, and only once", async () => {
    const { clock, log, shutdown, finish } = scene();
    shutdown.handle("sigterm");
    clock.advance(6000);
    finish();
    await clock.advanceAsync(10_000);
    expect(log).toEqual(["lame duck", "drain", "stop"]);
  });

  it("stops when draining itself fails", async () => {
    const { clock, log, shutdown, fail } = scene();
    shutdown.handle("sigterm");
    clock.advance(1000);
    fail();
    await clock.advanceAsync(0);
    expect(log.at(-1)).toBe("stop drained");
  });

  it.each(["sigterm", "sigint"] as const)("stops at once on %s after SIGTERM", (second) => {
    const { clock, log, shutdown } = scene();
    shutdown.handle("sigterm");
    shutdown.handle(second);
    clock.advance(10_000);
    expect(log).toEqual(["lame duck", "stop"]);
  });

  it("stops at once on SIGINT", () => {
    const { log, shutdown } = scene();
    shutdown.handle("sigint");
    expect(log).toEqual(["stop"]);
    expect(shutdown.state.kind).toBe("stopped");
  });
});
