import { parseDuration, type WrkResult } from "./wrk.ts";

/** Reads what h2load prints; it knows no percentiles. */
export function parseH2load(output: string): WrkResult {
  const total =
    /^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored/m.exec(
      output,
    );
  const finished = /^finished in ([^,\s]+),/m.exec(output);
  if (total === null || finished?.[1] === undefined) throw new Error(`h2load printed no total:\n${output}`);
  const status = /^status codes: \d+ 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx/m.exec(output);
  const bad = (status?.slice(1) ?? []).reduce((sum, count) => sum + Number(count), 0);
  return {
    requests: Number(total[1]),
    seconds: parseDuration(finished[1]),
    p50Ms: Number.NaN,
    p99Ms: Number.NaN,
    errors: Number(total[4]) + bad,
  };
}
