import { describe, expect, it } from "vitest";
import { backoffMs } from "./backoff.ts";

const BACKOFF = { baseMs: 100, capMs: 1000 };

describe("backoffMs", () => {
  it("doubles up to the cap", () => {
    expect([1, 2, 3, 4, 5, 6, 1000].map((n) => backoffMs(n, 1, BACKOFF))).toEqual([
      100, 200, 400, 800, 1000, 1000, 1000,
    ]);
  });

  it("is at least half of its full length, however the dice fall", () => {
    expect([1, 4, 9].map((n) => backoffMs(n, 0, BACKOFF))).toEqual([50, 400, 500]);
  });
});
