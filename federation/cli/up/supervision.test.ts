import { describe, expect, it } from "vitest";
import { firstStart, type SlotEvent, type SlotState, transition } from "./supervision.ts";

const backoff = { firstMs: 50, maxMs: 400, healthyMs: 1000 };

/** Plays events at given times and answers the state after each. */
function play(...script: readonly (readonly [at: number, event: SlotEvent])[]): SlotState[] {
  let state = firstStart(0, backoff);
  return script.map(([at, event]) => {
    state = transition(state, event, at, backoff);
    return state;
  });
}

const last = (states: readonly SlotState[]) => states.at(-1);

describe("supervision of one process", () => {
  it("runs once the process says that it is ready", () => {
    expect(last(play([80, { kind: "ready", generation: 1 }]))).toEqual({
      kind: "running",
      generation: 1,
      since: 80,
      delayMs: 50,
    });
  });

  it("waits 50 ms before it starts a process again that died", () => {
    const script = [[100, { kind: "exited", generation: 1 }]] as const;
    expect(last(play(...script))).toMatchObject({ kind: "waiting", until: 150 });
    expect(last(play(...script, [149, { kind: "tick" }]))).toMatchObject({ kind: "waiting" });
    expect(last(play(...script, [150, { kind: "tick" }]))).toMatchObject({ kind: "starting", generation: 2 });
  });

  it("doubles the wait with every early death, up to the maximum", () => {
    let state = firstStart(0, backoff);
    const waits: number[] = [];
    for (let generation = 1; generation <= 6; generation++) {
      state = transition(state, { kind: "exited", generation }, 0, backoff);
      if (state.kind !== "waiting") throw new Error(state.kind);
      waits.push(state.until);
      state = transition(state, { kind: "tick" }, state.until, backoff);
      state = {
        ...state,
        kind: "starting",
        since: 0,
        delayMs: state.kind === "starting" ? state.delayMs : 0,
      };
    }
    expect(waits).toEqual([50, 100, 200, 400, 400, 400]);
  });

  it("begins with the first wait again after the process lived for a while", () => {
    const states = play(
      [0, { kind: "exited", generation: 1 }],
      [50, { kind: "tick" }],
      [60, { kind: "exited", generation: 2 }],
      [160, { kind: "tick" }],
      [170, { kind: "ready", generation: 3 }],
      [1170, { kind: "exited", generation: 3 }],
    );
    expect(states[2]).toMatchObject({ kind: "waiting", until: 160 });
    expect(last(states)).toMatchObject({ kind: "waiting", until: 1220 });
  });

  it("keeps growing the wait for a process that becomes ready and dies at once", () => {
    const states = play(
      [0, { kind: "exited", generation: 1 }],
      [50, { kind: "tick" }],
      [60, { kind: "ready", generation: 2 }],
      [70, { kind: "exited", generation: 2 }],
    );
    expect(last(states)).toMatchObject({ kind: "waiting", until: 170 });
  });

  it("starts the successor at once when the process says that it drains", () => {
    const states = play([10, { kind: "ready", generation: 1 }], [500, { kind: "draining", generation: 1 }]);
    expect(last(states)).toMatchObject({ kind: "starting", generation: 2, since: 500 });
  });

  it("does not care when the drained predecessor ends", () => {
    const states = play(
      [10, { kind: "ready", generation: 1 }],
      [500, { kind: "draining", generation: 1 }],
      [600, { kind: "ready", generation: 2 }],
      [2000, { kind: "exited", generation: 1 }],
    );
    expect(states[3]).toBe(states[2]);
    expect(states[3]).toMatchObject({ kind: "running", generation: 2 });
  });

  it("ignores a late word of a process that is already gone", () => {
    const states = play([0, { kind: "exited", generation: 1 }], [10, { kind: "ready", generation: 1 }]);
    expect(states[1]).toBe(states[0]);
  });

  it("never starts anything again once it is stopped", () => {
    const states = play(
      [10, { kind: "ready", generation: 1 }],
      [20, { kind: "stop" }],
      [30, { kind: "exited", generation: 1 }],
      [9000, { kind: "tick" }],
    );
    expect(last(states)).toEqual({ kind: "stopped", generation: 1 });
  });
});
