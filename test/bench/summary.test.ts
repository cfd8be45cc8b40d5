import { describe, expect, it } from "vitest";
import type { Sample } from "./measure.ts";
import { ISTHMUS_CHAINS } from "./peers/isthmus.ts";
import { NGINX_CHAINS } from "./peers/nginx.ts";
import { judge, median, summarize } from "./summary.ts";

const CHAINS = [...ISTHMUS_CHAINS, ...NGINX_CHAINS];

function sample(chain: string, microsPerRequest: number, more: Partial<Sample> = {}): Sample {
  return {
    chain,
    section: "requests",
    connections: 64,
    round: 0,
    requests: 1000,
    seconds: 2,
    hopMicros: [microsPerRequest * 250, microsPerRequest * 750],
    asideMicros: 20_000,
    otherMicros: 0,
    p50Ms: 1,
    p99Ms: 2,
    errors: 0,
    ...more,
  };
}

describe("the summary of a run", () => {
  it("takes the median of an odd and of an even number of values, in any order", () => {
    expect(median([9, 1, 5])).toBe(5);
    expect(median([8, 2, 4, 6])).toBe(5);
  });

  it("sums the hops of a chain and leaves what carries no request aside", () => {
    const [row] = summarize([sample("nginx-2", 60)], CHAINS);
    expect(row).toMatchObject({ cost: 60, hopCosts: [15, 45], perSecond: 500, busy: 0.03, asideBusy: 0.01 });
  });

  it("compares within a round, so a machine that slows down for one round does not move the ratio", () => {
    const rows = summarize(
      [0, 1, 2].flatMap((round) => {
        const slow = round === 1 ? 3 : 1;
        return [sample("nginx-4", 100 * slow, { round }), sample("isthmus-4", 50 * slow, { round })];
      }),
      CHAINS,
    );
    expect(rows.find((row) => row.chain === "isthmus-4")?.ratio).toBeCloseTo(0.5);
  });

  it("compares a chain with nginx of as many hops only, and gives no ratio without it", () => {
    const rows = summarize([sample("nginx-2", 60), sample("isthmus-4", 50)], CHAINS);
    expect(rows.find((row) => row.chain === "isthmus-4")?.ratio).toBeUndefined();
  });

  it("gives bulk as milliseconds per MiB", () => {
    const bulk = { section: "bulk", connections: 8 } as const;
    expect(summarize([sample("nginx-2", 2500, bulk)], CHAINS)[0]?.cost).toBe(2.5);
  });
});

describe("the bars", () => {
  const verdicts = (samples: readonly Sample[]) =>
    Object.fromEntries(judge(summarize(samples, CHAINS)).map((bar) => [bar.name, bar.verdict]));

  it("hold at the limit and fall short above it", () => {
    expect(verdicts([sample("nginx-4", 100), sample("isthmus-4", 50)])["four hops, 64 connections"]).toBe(
      "holds",
    );
    expect(verdicts([sample("nginx-2", 100), sample("isthmus-2", 81)])["two hops, 64 connections"]).toBe(
      "falls short",
    );
  });

  it("are not measured when nginx is absent", () => {
    expect(new Set(Object.values(verdicts([sample("isthmus-4", 10)])))).toEqual(new Set(["not measured"]));
  });

  it("are not measured when requests failed, for failing is cheap", () => {
    const samples = [sample("nginx-4", 100), sample("isthmus-4", 10, { errors: 1 })];
    expect(verdicts(samples)["four hops, 64 connections"]).toBe("not measured");
  });
});
