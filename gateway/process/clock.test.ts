import { describe, expect, it } from "vitest";
import { systemClock, systemRandom } from "./clock.ts";

describe("systemClock", () => {
  it("runs a timer, and not one that was cancelled", async () => {
    const ran: string[] = [];
    const cancelled = systemClock.after(0, () => ran.push("cancelled"));
    cancelled.cancel();
    await new Promise<void>((resolve) => {
      systemClock.after(-5, () => {
        ran.push("due");
        resolve();
      });
    });
    cancelled.cancel();
    expect(ran).toEqual(["due"]);
  });

  it("waits for a delay that is longer than the platform can count", () => {
    let ran = false;
    const timer = systemClock.after(Number.MAX_SAFE_INTEGER, () => (ran = true));
    timer.cancel();
    expect(ran).toBe(false);
  });
});

describe("systemRandom", () => {
  it("answers from 0 to below 1", () => {
    for (let draw = 0; draw < 100; draw++) {
      const value = systemRandom();
      expect(value >= 0 && value < 1).toBe(true);
    }
  });
});
