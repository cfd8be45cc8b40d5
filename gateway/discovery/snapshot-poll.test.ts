import { describe, expect, it } from "vitest";
import { type Problem, problem } from "../../federation/model/problem.ts";
import {
  initialPoll,
  mayWait,
  type PollEvent,
  type PollState,
  type PollTimes,
  statusOf,
  transition,
} from "./snapshot-poll.ts";

const TIMES: PollTimes = {
  soon: { baseMs: 100, capMs: 1000 },
  later: { baseMs: 500, capMs: 5000 },
  intervalMs: 1000,
};
const GONE: Problem = problem("registry_unreachable", "connect ECONNREFUSED");
const BAD: Problem = problem("snapshot_signature", "it does not verify");
const FAILED = { kind: "failed", problem: GONE, denied: false } as const satisfies PollEvent;

/** Jitter 1: the longest wait. */
function after(state: PollState, event: PollEvent, now: number): PollState {
  return transition(state, event, now, 1, TIMES);
}

const CONNECTED: PollState = {
  phase: { kind: "asking", sinceMs: 0 },
  failures: 0,
  connected: true,
  lastContactMs: 0,
  revision: 7,
};

describe("transition", () => {
  it("asks again at once after news", () => {
    expect(after(CONNECTED, { kind: "accepted", revision: 8 }, 10)).toEqual({
      ...CONNECTED,
      phase: { kind: "asking", sinceMs: 10 },
      lastContactMs: 10,
      revision: 8,
    });
  });

  it("asks again at once when the registry held the question", () => {
    expect(after(CONNECTED, { kind: "unchanged" }, 30_000).phase).toEqual({
      kind: "asking",
      sinceMs: 30_000,
    });
  });

  it("keeps its distance from a registry that does not hold the question", () => {
    expect(after(CONNECTED, { kind: "unchanged" }, 5).phase).toEqual({ kind: "waiting", untilMs: 1005 });
  });

  it("keeps its distance from a registry that repeats what we have", () => {
    expect(after(CONNECTED, { kind: "accepted", revision: 7 }, 5).phase).toEqual({
      kind: "waiting",
      untilMs: 1005,
    });
  });

  it("asks to wait as soon as the registry has shown itself", () => {
    const fresh = initialPoll(0, 7);
    expect(after(fresh, { kind: "unchanged" }, 5)).toMatchObject({
      phase: { kind: "asking", sinceMs: 5 },
      connected: true,
      revision: 7,
    });
  });

  it("asks to wait only while all is well", () => {
    const refused = after(CONNECTED, { kind: "refused", problem: BAD }, 10);
    expect([CONNECTED, refused, initialPoll(0, 7)].map(mayWait)).toEqual([true, false, false]);
    const asking = after(refused, { kind: "tick" }, 1e6);
    expect(after(asking, { kind: "unchanged" }, 1e6).phase).toEqual({ kind: "asking", sinceMs: 1e6 });
  });

  it("notices a returned registry within a second, however long it was away", () => {
    let state = CONNECTED;
    const waits: number[] = [];
    for (let now = 0; waits.length < 8; ) {
      state = after(state, FAILED, now);
      if (state.phase.kind !== "waiting") throw new Error("must wait");
      waits.push(state.phase.untilMs - now);
      now = state.phase.untilMs;
      state = after(state, { kind: "tick" }, now);
      expect(state.phase).toEqual({ kind: "asking", sinceMs: now });
    }
    expect(waits).toEqual([100, 200, 400, 800, 1000, 1000, 1000, 1000]);
    expect(state).toMatchObject({ connected: false, lastError: GONE, revision: 7 });
  });

  it("goes on when its timer runs early or the clock was set back", () => {
    const waiting = after(CONNECTED, FAILED, 1000);
    expect(after(waiting, { kind: "tick" }, 0).phase.kind).toBe("asking");
  });

  it("asks a registry that says no less often", () => {
    let state = CONNECTED;
    for (let round = 0; round < 10; round++) {
      state = after(state, { kind: "failed", problem: GONE, denied: true }, 0);
      if (round < 9) state = after(state, { kind: "tick" }, 1e9);
    }
    expect(state.phase).toEqual({ kind: "waiting", untilMs: 5000 });
  });

  it("leaves a registry alone for as long as it asks, and no shorter than the back-off", () => {
    const wait = (retryAfterMs: number) => after(CONNECTED, { ...FAILED, retryAfterMs }, 0).phase;
    expect(wait(8_000)).toEqual({ kind: "waiting", untilMs: 10_000 });
    expect(wait(1)).toEqual({ kind: "waiting", untilMs: 100 });
  });

  it("keeps what is in force when a snapshot is refused, and says why", () => {
    const refused = after(CONNECTED, { kind: "refused", problem: BAD }, 10);
    expect(refused).toMatchObject({ connected: true, revision: 7, refusal: BAD, failures: 1 });
    expect(statusOf(refused)).toEqual({
      connected: true,
      lastContactMs: 10,
      revision: 7,
      refusedCode: "ISTH-1051",
      lastError: { code: "ISTH-1051", detail: "it does not verify" },
    });
  });

  it.each([{ kind: "unchanged" }, { kind: "accepted", revision: 8 }] as const)(
    "forgets a refusal after $kind",
    (event) => {
      const refused = after(CONNECTED, { kind: "refused", problem: BAD }, 10);
      const asking = after(refused, { kind: "tick" }, 1e6);
      const status = statusOf(after(asking, event, 1e6));
      expect(status.refusedCode).toBeUndefined();
      expect(status.lastError).toBeUndefined();
    },
  );

  it("remembers a refusal while the registry is away", () => {
    const refused = after(CONNECTED, { kind: "refused", problem: BAD }, 10);
    const lost = after(after(refused, { kind: "tick" }, 1e6), FAILED, 1e6);
    expect(statusOf(lost)).toMatchObject({ refusedCode: "ISTH-1051", lastError: { code: "ISTH-6005" } });
  });

  it("ignores answers to questions that are not open, and timers that nobody set", () => {
    const waiting = after(CONNECTED, FAILED, 0);
    for (const event of [{ kind: "accepted", revision: 9 }, { kind: "unchanged" }, FAILED] as const) {
      expect(after(waiting, event, 1)).toBe(waiting);
    }
    expect(after(CONNECTED, { kind: "tick" }, 1)).toBe(CONNECTED);
  });
});
