import type { Chain } from "./chain.ts";
import { BULK_BYTES } from "./peers/nginx.ts";
import type { Sample } from "./measure.ts";
import type { Section } from "./options.ts";

/** One line of a table: a chain under one load, medians over the rounds. */
export interface Row {
  readonly chain: string;
  readonly section: Section;
  readonly connections: number;
  /** CPU over all hops: µs per request, in `bulk` ms per MiB. */
  readonly cost: number;
  readonly hopCosts: readonly number[];
  /** To nginx with as many hops; the median of the rounds' own ratios. */
  readonly ratio: number | undefined;
  /** To HAProxy with as many hops, where it speaks HTTP/2 from end to end. */
  readonly haproxyRatio: number | undefined;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** To nginx with as many hops, as `ratio` is. */
  readonly perSecondRatio: number | undefined;
  readonly p50Ratio: number | undefined;
  readonly p99Ratio: number | undefined;
  /** Share of one core that the hops used. Well below 1, wrk or the backend was the limit and batching was less. */
  readonly busy: number;
  readonly asideBusy: number;
  /** Share of the proxies' core that other work took: a large one makes every figure of the row doubtful. */
  readonly otherBusy: number;
  readonly errors: number;
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function cost(sample: Sample, micros: number): number {
  const perRequest = micros / Math.max(sample.requests, 1);
  return sample.section === "bulk" ? perRequest / 1000 / (BULK_BYTES / 1024 / 1024) : perRequest;
}

type Figure = (sample: Sample) => number;

const wholeCost: Figure = (sample) => cost(sample, sum(sample.hopMicros));
const perSecond: Figure = ({ requests, seconds }) => requests / seconds;
const p50: Figure = ({ p50Ms }) => p50Ms;
const p99: Figure = ({ p99Ms }) => p99Ms;

export function summarize(samples: readonly Sample[], chains: readonly Chain[]): Row[] {
  const key = (sample: Sample): string => `${sample.section} ${sample.connections} ${sample.chain}`;
  const groups = Map.groupBy(samples, key);
  return [...groups.values()].map((group) => summarizeGroup(group, samples, chains));
}

function summarizeGroup(group: readonly Sample[], samples: readonly Sample[], chains: readonly Chain[]): Row {
  const [first] = group;
  if (first === undefined) throw new Error("a group without samples");
  const hops = chains.find(({ id }) => id === first.chain)?.hops;
  const ratioOf = (figure: Figure, prefix = "nginx-"): number | undefined => {
    const rivals = chains.filter((chain) => chain.id.startsWith(prefix) && chain.hops === hops);
    const ratios = group
      .map((sample) => ratioTo(figure, sample, samples, rivals))
      .filter((ratio) => ratio !== undefined);
    return ratios.length === 0 ? undefined : median(ratios);
  };
  const over = (figure: Figure): number => median(group.map(figure));
  return {
    chain: first.chain,
    section: first.section,
    connections: first.connections,
    cost: over(wholeCost),
    hopCosts: first.hopMicros.map((_, hop) => over((sample) => cost(sample, sample.hopMicros[hop] ?? 0))),
    ratio: ratioOf(wholeCost),
    haproxyRatio: ratioOf(wholeCost, "haproxy-grpc-"),
    perSecond: over(perSecond),
    p50Ms: over(p50),
    p99Ms: over(p99),
    perSecondRatio: ratioOf(perSecond),
    p50Ratio: ratioOf(p50),
    p99Ratio: ratioOf(p99),
    busy: over((sample) => sum(sample.hopMicros) / 1e6 / sample.seconds),
    asideBusy: over((sample) => sample.asideMicros / 1e6 / sample.seconds),
    otherBusy: over((sample) => sample.otherMicros / 1e6 / sample.seconds),
    errors: sum(group.map((sample) => sample.errors)),
  };
}

function ratioTo(
  figure: Figure,
  sample: Sample,
  samples: readonly Sample[],
  rivals: readonly Chain[],
): number | undefined {
  // At most one of a peer's chains of a length takes part in a section.
  const rival = samples.find(
    (other) =>
      rivals.some(({ id }) => id === other.chain) &&
      other.section === sample.section &&
      other.connections === sample.connections &&
      other.round === sample.round,
  );
  return rival === undefined ? undefined : figure(sample) / figure(rival);
}

export interface Bar {
  readonly name: string;
  readonly bound: "at most" | "at least";
  readonly limit: number;
  /** Absent when ours or nginx was not measured. */
  readonly ratio: number | undefined;
  readonly verdict: "holds" | "falls short" | "not measured";
}

// The promises of the project; the goal beyond them is 0.5 for two hops, too.
const REQUEST_LIMITS = [
  { chain: "isthmus-4", name: "four hops", limit: 0.5 },
  { chain: "isthmus-2", name: "two hops", limit: 0.8 },
] as const;
const BULK_LIMIT = 1.1;
const HTTP2_LIMIT = 0.7;
// In both figures of the same load, the backend's share is the same, so what is no worse in all adds no more either.
const LATENCY_LIMIT = 1;
const CONNECTIONS_LIMIT = 1;
const WORKERS_LIMIT = 1.15;
const GROWTH_LIMIT = 1.1;

export function judge(rows: readonly Row[]): Bar[] {
  return REQUEST_LIMITS.flatMap(({ chain, name, limit }) => {
    const bar = (what: string, section: Section, most: number, figure: RatioName = "ratio"): Bar =>
      measuredBar(`${name}, ${what}`, most, ratioIn(rows, chain, section, figure));
    return [
      ...[64, 256].map((connections) =>
        measuredBar(
          `${name}, ${connections} connections`,
          limit,
          ratioIn(rows, chain, "requests", "ratio", connections),
        ),
      ),
      bar("1 MiB bodies", "bulk", BULK_LIMIT),
      ...(["http2", "grpc"] as const).flatMap((section) => [
        bar(`${section}, to nginx`, section, HTTP2_LIMIT),
        bar(`${section}, to HAProxy`, section, HTTP2_LIMIT, "haproxyRatio"),
      ]),
      bar("paced, p50", "paced", LATENCY_LIMIT, "p50Ratio"),
      bar("paced, p99", "paced", LATENCY_LIMIT, "p99Ratio"),
    ];
  }).concat(
    // Promised of two hops: four have twice as many connections to open.
    measuredBar(
      "two hops, new connections a second",
      CONNECTIONS_LIMIT,
      ratioIn(rows, "isthmus-2", "connections", "perSecondRatio"),
      "at least",
    ),
  );
}

/** What a request costs where two workers share a port, in ratio to one worker, over rounds of the same run. */
export function judgeWorkers(name: string, rounds: readonly WorkersRound[]): Bar {
  const isClean = rounds.length > 0 && rounds.every(({ errors }) => errors === 0);
  const ratio = isClean ? median(rounds.map(({ one, two }) => two / one)) : undefined;
  return measuredBar(name, WORKERS_LIMIT, ratio);
}

/** What a request costs by one chain in ratio to another: the median of the rounds' own ratios. */
export function costRatio(samples: readonly Sample[], chain: string, against: string): number | undefined {
  const ratios = samples
    .filter((sample) => sample.chain === chain)
    .flatMap((sample) => {
      const other = samples.find(({ chain: id, round }) => id === against && round === sample.round);
      return other === undefined ? [] : [wholeCost(sample) / wholeCost(other)];
    });
  return ratios.length === 0 ? undefined : median(ratios);
}

/** What more of something may add to the cost of few. */
export function judgeGrowth(name: string, base: string, samples: readonly Sample[]): Bar {
  const isClean = samples.every(({ errors }) => errors === 0);
  return measuredBar(name, GROWTH_LIMIT, isClean ? costRatio(samples, name, base) : undefined);
}

/** µs per request of one worker and of two, and the requests that failed. */
export interface WorkersRound {
  readonly one: number;
  readonly two: number;
  readonly errors: number;
}

type RatioName = "ratio" | "haproxyRatio" | "perSecondRatio" | "p50Ratio" | "p99Ratio";

function ratioIn(
  rows: readonly Row[],
  chain: string,
  section: Section,
  figure: RatioName,
  connections?: number,
): number | undefined {
  const row = rows.find(
    (candidate) =>
      candidate.chain === chain &&
      candidate.section === section &&
      (connections === undefined || candidate.connections === connections),
  );
  // Failed requests are cheap: a figure that contains some proves nothing.
  return row === undefined || row.errors > 0 ? undefined : row[figure];
}

function measuredBar(
  name: string,
  limit: number,
  ratio: number | undefined,
  bound: Bar["bound"] = "at most",
): Bar {
  if (ratio === undefined || !Number.isFinite(ratio))
    return { name, bound, limit, ratio: undefined, verdict: "not measured" };
  const isMet = bound === "at most" ? ratio <= limit : ratio >= limit;
  return { name, bound, limit, ratio, verdict: isMet ? "holds" : "falls short" };
}
