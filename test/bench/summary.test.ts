import { describe, expect, it } from "vitest";
import type { Sample } from "./measure.ts";
import { HAPROXY_CHAINS } from "./peers/haproxy.ts";
import { ISTHMUS_CHAINS } from "./peers/isthmus.ts";
import { NGINX_CHAINS } from "./peers/nginx.ts";
import { judge, judgeWorkers, median, summarize } from "./summary.ts";

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

  const paced = (chain: string, p50Ms: number, p99Ms: number, round = 0) =>
    sample(chain, 50, { section: "paced", p50Ms, p99Ms, round });

  it("hold for latency at a given load when neither p50 nor p99 is worse than nginx's with as many hops", () => {
    const samples = [
      paced("nginx-2", 1, 3),
      paced("isthmus-2", 1, 3.1),
      paced("nginx-4", 2, 4),
      paced("isthmus-4", 2.1, 4),
    ];
    expect(verdicts(samples)).toMatchObject({
      "two hops, paced, p50": "holds",
      "two hops, paced, p99": "falls short",
      "four hops, paced, p50": "falls short",
      "four hops, paced, p99": "holds",
    });
  });

  it("compare latency within a round, too", () => {
    const samples = [1, 9, 1].flatMap((slow, round) => [
      paced("nginx-2", slow, slow, round),
      paced("isthmus-2", slow, slow, round),
    ]);
    expect(verdicts([...samples, paced("isthmus-2", 5, 5, 3)])["two hops, paced, p99"]).toBe("holds");
  });

  it("hold for new connections when there are as many a second as nginx's two hops make, not more", () => {
    const made = (chain: string, requests: number) => sample(chain, 50, { section: "connections", requests });
    const name = "two hops, new connections a second";
    expect(verdicts([made("nginx-2", 1000), made("isthmus-2", 1000)])[name]).toBe("holds");
    expect(verdicts([made("nginx-2", 1000), made("isthmus-2", 999)])[name]).toBe("falls short");
    expect(verdicts([made("nginx-2", 500), made("isthmus-2", 2000)])[name]).toBe("holds");
  });

  it("hold for HTTP/2 and gRPC at 0.7 of HAProxy and of nginx with as many hops", () => {
    const chains = [...CHAINS, ...HAPROXY_CHAINS];
    for (const section of ["http2", "grpc"] as const) {
      const of = (chain: string, micros: number) => sample(chain, micros, { section });
      const samples = [of("nginx-grpc-2", 100), of("haproxy-grpc-2", 99), of("isthmus-2", 70)];
      const bars = judge(summarize(samples, chains)).filter(({ name }) =>
        name.startsWith(`two hops, ${section}`),
      );
      expect(bars.map(({ verdict }) => verdict)).toEqual(["holds", "falls short"]);
    }
  });

  it("of two workers hold at 1.15 of what one costs, in the median of the rounds and only without a failure", () => {
    const round = (two: number, errors = 0) => ({ one: 100, two, errors });
    const verdict = (...rounds: Parameters<typeof judgeWorkers>[1]) => judgeWorkers("64", rounds).verdict;
    expect(verdict(round(115))).toBe("holds");
    expect(verdict(round(116))).toBe("falls short");
    expect(verdict(round(110), round(300), round(110))).toBe("holds");
    expect(verdict(round(100, 1), round(100))).toBe("not measured");
    expect(verdict()).toBe("not measured");
  });
});
