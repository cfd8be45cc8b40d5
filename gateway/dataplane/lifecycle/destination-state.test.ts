import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ADMITTED,
  admittedPart,
  type DestinationEvent,
  type DestinationState,
  transition,
} from "./destination-state.ts";

const CONFIG = { delayMs: 5_000, rampMs: 10_000 };
const NOW = 1_000_000;
const LOST: DestinationState = { kind: "lost", flaps: 0 };
const RETURNING: DestinationState = { kind: "returning", sinceMs: NOW, flaps: 0 };

describe("a destination's state", () => {
  const rows: readonly [string, DestinationState, DestinationEvent, number, DestinationState][] = [
    ["is lost at once", ADMITTED, "unready", NOW, { kind: "lost", flaps: 0 }],
    [
      "remembers that it was lost soon after it came back",
      { kind: "admitted", sinceMs: NOW, flaps: 0 },
      "unready",
      NOW + 59_999,
      { kind: "lost", flaps: 1 },
    ],
    [
      "forgets flaps after a calm minute",
      { kind: "admitted", sinceMs: NOW, flaps: 3 },
      "unready",
      NOW + 60_000,
      { kind: "lost", flaps: 0 },
    ],
    ["begins to return when it is ready", LOST, "ready", NOW, RETURNING],
    [
      "is admitted after delay and ramp",
      RETURNING,
      "tick",
      NOW + 15_000,
      { kind: "admitted", sinceMs: NOW + 15_000, flaps: 0 },
    ],
    ["is lost again while it returns", RETURNING, "unready", NOW + 1, { kind: "lost", flaps: 1 }],
    [
      "waits no longer than after five flaps: lost while it returns",
      { kind: "returning", sinceMs: NOW, flaps: 5 },
      "unready",
      NOW + 1,
      { kind: "lost", flaps: 5 },
    ],
    [
      "waits no longer than after five flaps: lost soon after it came back",
      { kind: "admitted", sinceMs: NOW, flaps: 5 },
      "unready",
      NOW + 1,
      { kind: "lost", flaps: 5 },
    ],
  ];
  it.each(rows)("%s", (_what, from, event, now, to) => {
    expect(transition(from, event, now, CONFIG)).toEqual(to);
  });

  it.each([
    ["admitted, ready", ADMITTED, "ready"],
    ["admitted, tick", ADMITTED, "tick"],
    ["lost, unready", LOST, "unready"],
    ["lost, tick", LOST, "tick"],
    ["returning, ready", RETURNING, "ready"],
    ["returning, tick before its time", RETURNING, "tick"],
  ] as const)("stays the same object on %s", (_what, state, event) => {
    expect(transition(state, event, NOW + 14_999, CONFIG)).toBe(state);
  });

  it("gets nothing for the delay, then a growing part", () => {
    expect(
      [0, 4_999, 5_000, 10_000, 15_000, 20_000].map((ms) => admittedPart(RETURNING, NOW + ms, CONFIG)),
    ).toEqual([0, 0, 0, 0.5, 1, 1]);
    expect(admittedPart(ADMITTED, NOW, CONFIG)).toBe(1);
    expect(admittedPart(LOST, NOW, CONFIG)).toBe(0);
  });

  it("waits twice as long with each flap", () => {
    const delays = [0, 1, 2, 5].map((flaps) => {
      const state: DestinationState = { kind: "returning", sinceMs: 0, flaps };
      return [4_999, 5_000, 9_999, 10_000, 20_000, 160_000].find(
        (ms) => admittedPart(state, ms, { delayMs: 5_000, rampMs: 0 }) > 0,
      );
    });
    expect(delays).toEqual([5_000, 10_000, 20_000, 160_000]);
  });

  it("gets traffic less and less often however it flaps", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 4_000 }), { minLength: 4, maxLength: 30 }), (gaps) => {
        let state: DestinationState = ADMITTED;
        let now = NOW;
        gaps.forEach((gap, index) => {
          state = transition(state, index % 2 === 0 ? "unready" : "ready", now, CONFIG);
          now += gap;
          // Every gap is shorter than the delay: after the first loss nothing ever comes back.
          expect(admittedPart(state, now, CONFIG)).toBe(0);
        });
      }),
    );
  });
});
