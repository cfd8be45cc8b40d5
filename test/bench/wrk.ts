export interface WrkResult {
  readonly requests: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Socket errors and answers other than 2xx and 3xx, together. */
  readonly errors: number;
}

const SECONDS_OF: { readonly [unit: string]: number } = { us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** wrk prints durations as `812.00us`, `1.21ms`, `4.00s`, `1.00m`. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(us|ms|s|m|h)$/.exec(text);
  const unit = match?.[2] === undefined ? undefined : SECONDS_OF[match[2]];
  if (match === null || unit === undefined) throw new Error(`not a duration of wrk: ${text}`);
  return Number(match[1]) * unit;
}

/** Reads what `wrk --latency` prints. */
export function parseWrk(output: string): WrkResult {
  const total = /^\s*(\d+) requests in ([^\s,]+),/m.exec(output);
  if (total?.[2] === undefined) throw new Error(`wrk printed no total:\n${output}`);
  const percentile = (label: string): number => {
    // Whole seconds come with a blank behind them.
    const match = new RegExp(`^\\s*${label}%\\s+(\\S+) *$`, "m").exec(output);
    return match?.[1] === undefined ? Number.NaN : parseDuration(match[1]) * 1000;
  };
  return {
    requests: Number(total[1]),
    seconds: parseDuration(total[2]),
    p50Ms: percentile("50"),
    p99Ms: percentile("99"),
    errors: countErrors(output),
  };
}

function countErrors(output: string): number {
  const socket = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output);
  const status = /Non-2xx or 3xx responses: (\d+)/.exec(output);
  const counts = [...(socket?.slice(1) ?? []), status?.[1] ?? "0"];
  return counts.reduce((sum, count) => sum + Number(count), 0);
}
