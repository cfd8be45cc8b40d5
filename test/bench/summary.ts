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

export function summarize(samples: readonly Sample[], chains: readonly Chain[]): Row[] {
  const key = (sample: Sample): string => `${sample.section} ${sample.connections} ${sample.chain}`;
  const groups = Map.groupBy(samples, key);
  return [...groups.values()].map((group) => summarizeGroup(group, samples, chains));
}

function summarizeGroup(group: readonly Sample[], samples: readonly Sample[], chains: readonly Chain[]): Row {
  const [first] = group;
  if (first === undefined) throw new Error("a group without samples");
  const hops = chains.find(({ id }) => id === first.chain)?.hops;
  const ratioOf = (prefix: string): number | undefined => {
    const rivals = chains.filter((chain) => chain.id.startsWith(prefix) && chain.hops === hops);
    const ratios = group
      .map((sample) => ratioTo(sample, samples, rivals))
      .filter((ratio) => ratio !== undefined);
    return ratios.length === 0 ? undefined : median(ratios);
  };
  const over = (value: (sample: Sample) => number): number => median(group.map(value));
  return {
    chain: first.chain,
    section: first.section,
    connections: first.connections,
    cost: over((sample) => cost(sample, sum(sample.hopMicros))),
    hopCosts: first.hopMicros.map((_, hop) => over((sample) => cost(sample, sample.hopMicros[hop] ?? 0))),
    ratio: ratioOf("nginx-"),
    haproxyRatio: ratioOf("haproxy-grpc-"),
    perSecond: over((sample) => sample.requests / sample.seconds),
    p50Ms: over((sample) => sample.p50Ms),
    p99Ms: over((sample) => sample.p99Ms),
    busy: over((sample) => sum(sample.hopMicros) / 1e6 / sample.seconds),
    asideBusy: over((sample) => sample.asideMicros / 1e6 / sample.seconds),
    otherBusy: over((sample) => sample.otherMicros / 1e6 / sample.seconds),
    errors: sum(group.map((sample) => sample.errors)),
  };
}

function ratioTo(sample: Sample, samples: readonly Sample[], rivals: readonly Chain[]): number | undefined {
  // At most one of a peer's chains of a length takes part in a section.
  const rival = samples.find(
    (other) =>
      rivals.some(({ id }) => id === other.chain) &&
      other.section === sample.section &&
      other.connections === sample.connections &&
      other.round === sample.round,
  );
  if (rival === undefined) return undefined;
  return cost(sample, sum(sample.hopMicros)) / cost(rival, sum(rival.hopMicros));
}

export interface Bar {
  readonly name: string;
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

export function judge(rows: readonly Row[]): Bar[] {
  return REQUEST_LIMITS.flatMap(({ chain, name, limit }) => [
    bar(rows, chain, "requests", 64, `${name}, 64 connections`, limit),
    bar(rows, chain, "requests", 256, `${name}, 256 connections`, limit),
    bar(rows, chain, "bulk", undefined, `${name}, 1 MiB bodies`, BULK_LIMIT),
    ...(["http2", "grpc"] as const).flatMap((section) => [
      bar(rows, chain, section, undefined, `${name}, ${section}, to nginx`, HTTP2_LIMIT),
      bar(rows, chain, section, undefined, `${name}, ${section}, to HAProxy`, HTTP2_LIMIT, "haproxyRatio"),
    ]),
  ]);
}

function bar(
  rows: readonly Row[],
  chain: string,
  section: Section,
  connections: number | undefined,
  name: string,
  limit: number,
  against: "ratio" | "haproxyRatio" = "ratio",
): Bar {
  const row = rows.find(
    (candidate) =>
      candidate.chain === chain &&
      candidate.section === section &&
      (connections === undefined || candidate.connections === connections),
  );
  const ratio = row?.[against];
  // Failed requests are cheap: a figure that contains some proves nothing.
  if (row === undefined || ratio === undefined || row.errors > 0)
    return { name, limit, ratio: undefined, verdict: "not measured" };
  return { name, limit, ratio, verdict: ratio <= limit ? "holds" : "falls short" };
}
