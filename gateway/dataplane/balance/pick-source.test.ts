import { describe, expect, it } from "vitest";
import { pickSource } from "./pick-source.ts";

const source = (name: string, local = false) => ({ name, local });

describe("the choice of a source", () => {
  it("is none where there is none", () => {
    expect(pickSource([], 0)).toBeUndefined();
  });

  it("is our own cluster's, which stands first", () => {
    const sources = [source("west", true), source("east")];
    for (const random of [0, 0.5, 0.999]) expect(pickSource(sources, random)?.name).toBe("west");
  });

  it("is spread over those of other clusters", () => {
    const sources = [source("east"), source("north")];
    expect([0, 0.49, 0.5, 0.999].map((random) => pickSource(sources, random)?.name)).toEqual([
      "east",
      "east",
      "north",
      "north",
    ]);
  });
});
