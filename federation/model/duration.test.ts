import { describe, expect, it } from "vitest";
import { DURATION, durationMs, timerMs } from "./duration.ts";

describe("a duration of the Gateway API", () => {
  it.each([
    ["0s", 0],
    ["500ms", 500],
    ["10s", 10_000],
    ["1m30s", 90_000],
    ["1h1m1s1ms", 3_661_001],
    ["99999h", 99_999 * 3_600_000],
  ])("%s is %d ms", (text, ms) => {
    expect(DURATION.test(text)).toBe(true);
    expect(durationMs(text)).toBe(ms);
  });

  it("is never longer than a timer can wait", () => {
    expect(timerMs("720h")).toBe(2 ** 31 - 1);
    expect(timerMs("24h")).toBe(86_400_000);
  });

  it.each(["", "10", "1.5s", "-1s", "1d", "1s 1m", "100000s", "1h1m1s1ms1s", "ms"])("%j is none", (text) => {
    expect(DURATION.test(text)).toBe(false);
  });
});
