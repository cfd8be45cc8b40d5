import { describe, expect, it } from "vitest";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import {
  createPush,
  IDLE,
  type PushAnswer,
  type PushEvent,
  type PushState,
  type PushTimes,
  transition,
} from "./push.ts";

const TIMES: PushTimes = { gatherMs: 20, heartbeatMs: 10_000, backoff: { baseMs: 100, capMs: 1000 } };
const SENDING: PushState = { sending: true, stale: false, failures: 0 };
const STALE: PushState = { ...SENDING, stale: true };
const FAILED: PushState = { ...IDLE, failures: 1, dueMs: 1000 };

describe("transition", () => {
  const rows: readonly [string, PushState, PushEvent, number, PushState][] = [
    ["a change is gathered with others", IDLE, "changed", 0, { ...IDLE, dueMs: 20 }],
    [
      "a change does not postpone what is due sooner",
      { ...IDLE, dueMs: 5 },
      "changed",
      0,
      { ...IDLE, dueMs: 5 },
    ],
    ["a change comes before the heartbeat", { ...IDLE, dueMs: 9000 }, "changed", 0, { ...IDLE, dueMs: 20 }],
    ["a change while sending is remembered", SENDING, "changed", 0, STALE],
    ["a change while failing leaves the back-off alone", FAILED, "changed", 0, FAILED],
    ["a returned registry ends the back-off", FAILED, "reconnected", 500, { ...IDLE, dueMs: 500 }],
    ["a returned registry is told again", SENDING, "reconnected", 0, STALE],
    ["it sends when due", { ...IDLE, dueMs: 20 }, "due", 20, SENDING],
    [
      "it sends also when the timer ran early or the clock was set back",
      { ...IDLE, dueMs: 20 },
      "due",
      0,
      SENDING,
    ],
    ["it sends nothing that is not due", IDLE, "due", 20, IDLE],
    ["it sends one at a time", SENDING, "due", 20, SENDING],
    ["a heartbeat follows", SENDING, "sent", 0, { ...IDLE, dueMs: 10_000 }],
    ["what changed meanwhile follows", STALE, "sent", 0, { ...IDLE, dueMs: 20 }],
    ["a failure is tried again", SENDING, "failed", 0, { ...IDLE, failures: 1, dueMs: 75 }],
    ["an answer to nothing is ignored", IDLE, "sent", 0, IDLE],
    ["a failure of nothing is ignored", IDLE, "failed", 0, IDLE],
  ];
  it.each(rows)("%s", (_, from, event, now, to) => {
    expect(transition(from, event, now, 0.5, TIMES)).toEqual(to);
  });

  it("has nothing to say after sending where no heartbeat is wanted", () => {
    const { gatherMs, backoff } = TIMES;
    expect(transition(SENDING, "sent", 0, 0.5, { gatherMs, backoff })).toEqual(IDLE);
  });
});

function scene() {
  const clock = createManualClock();
  const sent: number[] = [];
  const start = clock.now();
  const answers: (PushAnswer | Error)[] = [];
  const push = createPush(
    clock,
    () => 0.5,
    TIMES,
    async () => {
      sent.push(clock.now() - start);
      const answer = answers.shift() ?? true;
      if (answer instanceof Error) throw answer;
      return answer;
    },
  );
  return { clock, sent, answers, push };
}

describe("createPush", () => {
  it("gathers changes into one write and then beats", async () => {
    const { clock, sent, push } = scene();
    push.changed();
    push.changed();
    await clock.advanceAsync(20_100);
    expect(sent).toEqual([20, 10_020, 20_020]);
  });

  it("backs off while the registry is away and writes at once when it is back", async () => {
    const { clock, sent, answers, push } = scene();
    answers.push(false, new Error("gone"), false);
    push.changed();
    await clock.advanceAsync(250);
    push.changed();
    push.reconnected();
    await clock.advanceAsync(0);
    expect(sent).toEqual([20, 95, 245, 250]);
  });

  it("leaves a registry alone for as long as it asks", async () => {
    const { clock, sent, answers, push } = scene();
    answers.push({ retryAfterMs: 2_000 }, { retryAfterMs: 1 });
    push.changed();
    await clock.advanceAsync(100);
    push.changed();
    await clock.advanceAsync(2_500);
    // A quarter of it is jitter, here half of that; a shorter wish than the back-off changes nothing.
    expect(sent).toEqual([20, 2_270, 2_420]);
  });

  it("is silent after stop", async () => {
    const { clock, sent, push } = scene();
    push.changed();
    push.stop();
    push.changed();
    await clock.advanceAsync(60_000);
    expect(sent).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});
