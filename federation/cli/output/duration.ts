const UNITS: readonly (readonly [string, number])[] = [
  ["y", 365 * 86_400_000],
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
  ["ms", 1],
];

/** `3 h`, `12 s`, `850 ms`: one unit, rounded down, as precise as anyone reads. */
export function renderDuration(ms: number): string {
  const size = Math.abs(ms);
  const [unit, length] = UNITS.find(([, unitMs]) => size >= unitMs) ?? ["ms", 1];
  return `${Math.floor(size / length)} ${unit}`;
}

/** `12 s ago`, or `-` for a time that is not known. */
export function renderAge(time: string | undefined, now: number): string {
  if (time === undefined) return "-";
  const at = Date.parse(time);
  return Number.isNaN(at) ? "-" : `${renderDuration(Math.max(0, now - at))} ago`;
}

const DURATION = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|min|h|d)?$/;
const SECONDS: { readonly [unit: string]: number } = { ms: 0.001, s: 1, m: 60, min: 60, h: 3600, d: 86_400 };

/** `30`, `30s`, `1.5m`, `500ms` in milliseconds; a bare number counts seconds. */
export function parseDuration(text: string): number | undefined {
  const match = DURATION.exec(text);
  if (match === null) return undefined;
  return Math.round(Number(match[1]) * (SECONDS[match[2] ?? "s"] ?? 1) * 1000);
}
