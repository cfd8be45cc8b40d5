/**
 * What the registry counts of itself. By hand, as the data plane does: a request costs two map look-ups. Labels are
 * route patterns, methods, statuses and words of ours, never names, so that their number has a bound.
 */
import type { Registry } from "../registry/registry.ts";
import type { MeasuredStore } from "../registry/measured-store.ts";

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** Seconds; a poll without news takes half a millisecond, a change that all hear of a second. */
const BUCKETS = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 5] as const;
/** A member that reported nothing for so long is silent: three reports in a row are missing. */
const SILENT_MS = 30_000;

interface Series {
  readonly labels: string;
  count: number;
  sum: number;
  /** How many took at most so long, by bucket. */
  readonly buckets: number[];
}

class Durations {
  readonly #series = new Map<string, Series>();

  /** `labels` as Prometheus has them. `seconds` absent: counted, and its time says nothing. */
  observe(labels: string, seconds?: number): void {
    let series = this.#series.get(labels);
    if (series === undefined) {
      series = { labels, count: 0, sum: 0, buckets: BUCKETS.map(() => 0) };
      this.#series.set(labels, series);
    }
    if (seconds === undefined) return;
    series.count += 1;
    series.sum += seconds;
    for (let index = BUCKETS.length - 1; index >= 0 && seconds <= (BUCKETS[index] ?? 0); index--)
      series.buckets[index] = (series.buckets[index] ?? 0) + 1;
  }

  lines(name: string): readonly string[] {
    return [...this.#series.values()].flatMap(({ labels, count, sum, buckets }) => [
      ...buckets.map((value, index) => `${name}_bucket{${labels},le="${BUCKETS[index]}"} ${value}`),
      `${name}_bucket{${labels},le="+Inf"} ${count}`,
      `${name}_sum{${labels}} ${sum}`,
      `${name}_count{${labels}} ${count}`,
    ]);
  }
}

export class RegistryMetrics {
  readonly monotonicMs: () => number;
  readonly #store: MeasuredStore | undefined;
  readonly #requests = new Map<string, number>();
  readonly #times = new Durations();

  constructor(options: { readonly monotonicMs: () => number; readonly store?: MeasuredStore }) {
    this.monotonicMs = options.monotonicMs;
    this.#store = options.store;
  }

  /** `route` is the pattern; `held`: it waited for news, so that its time is the news' and not ours. */
  request(about: {
    readonly method: string;
    readonly route: string;
    readonly status: number;
    readonly ms: number;
    readonly held: boolean;
  }): void {
    const { method, route, status, ms, held } = about;
    const labels = `method="${method}",route="${route}"`;
    const counted = `${labels},status="${status}"`;
    this.#requests.set(counted, (this.#requests.get(counted) ?? 0) + 1);
    if (!held) this.#times.observe(labels, ms / 1_000);
  }

  /** Prometheus text, format 0.0.4. */
  async render(registry: Registry): Promise<string> {
    const families = [
      family("isthmus_registry_requests_total", "counter", "Requests answered.", [
        ...[...this.#requests].map(
          ([labels, value]) => `isthmus_registry_requests_total{${labels}} ${value}`,
        ),
      ]),
      family(
        "isthmus_registry_request_seconds",
        "histogram",
        "Time to answer, but of those that waited for news.",
        this.#times.lines("isthmus_registry_request_seconds"),
      ),
      ...this.#storeFamilies(),
      ...(await stateFamilies(registry)),
    ];
    return `${families.flat().join("\n")}\n`;
  }

  #storeFamilies(): readonly (readonly string[])[] {
    const name = "isthmus_registry_store";
    const store = this.#store;
    if (store === undefined) return [];
    const calls = [...store.calls].map(([labels, { count }]) => `${name}_calls_total{${labels}} ${count}`);
    const seconds = [...store.calls].map(
      ([labels, { ms }]) => `${name}_seconds_total{${labels}} ${ms / 1_000}`,
    );
    const families = [
      family(`${name}_calls_total`, "counter", "Calls of the store.", calls),
      family(`${name}_seconds_total`, "counter", "Time that calls of the store took.", seconds),
    ];
    const { units } = store;
    if (units === undefined) return families;
    return [
      ...families,
      family("isthmus_registry_table_read_units_total", "counter", "Read units that the table charged.", [
        `isthmus_registry_table_read_units_total ${units.read}`,
      ]),
      family("isthmus_registry_table_write_units_total", "counter", "Write units that the table charged.", [
        `isthmus_registry_table_write_units_total ${units.write}`,
      ]),
      family(
        "isthmus_registry_table_retries_total",
        "counter",
        "Calls repeated: throttled, late or failed.",
        [`isthmus_registry_table_retries_total ${units.retries}`],
      ),
    ];
  }
}

async function stateFamilies(registry: Registry): Promise<readonly (readonly string[])[]> {
  const { state, clock } = registry;
  const gauge = (
    name: string,
    help: string,
    ...lines: readonly (readonly [labels: string, value: number])[]
  ) =>
    family(
      `isthmus_registry_${name}`,
      "gauge",
      help,
      lines.map(([labels, value]) => `isthmus_registry_${name}${labels} ${value}`),
    );
  const clusters = { pending: 0, joined: 0 };
  for (const { record } of state.clusters.values()) clusters[record.state] += 1;
  const statuses = await registry.clusterStatuses();
  const members = { applied: 0, behind: 0, refused: 0, silent: 0 };
  for (const { snapshotRevision, members: own } of statuses.ok ? statuses.value : [])
    for (const member of own) {
      const silent = clock.now() - Date.parse(member.lastSeen) > SILENT_MS;
      if (silent) members.silent += 1;
      else if (member.state === "refused") members.refused += 1;
      else members[member.appliedRevision < snapshotRevision ? "behind" : "applied"] += 1;
    }
  const timing = registry.snapshotTimes;
  return [
    gauge("revision", "Of the federation.", ["", state.revision]),
    gauge("writable", "Whether the last change could be written.", ["", registry.writable ? 1 : 0]),
    gauge("clusters", "By what became of them.", ...byState(clusters)),
    gauge("members", "By what they last said.", ...byState(members)),
    gauge("waiting_members", "Held until there is news.", ["", registry.wakeups.waiting]),
    gauge("signing_key_age_seconds", "Since the key that signs is the one.", [
      "",
      registry.keys.ageMs() / 1_000,
    ]),
    family("isthmus_registry_snapshots_total", "counter", "Snapshots compiled and signed here.", [
      `isthmus_registry_snapshots_total ${timing.made}`,
    ]),
    family("isthmus_registry_snapshot_seconds_total", "counter", "Time that compiling and signing took.", [
      `isthmus_registry_snapshot_seconds_total ${timing.ms / 1_000}`,
    ]),
  ];
}

function byState(counts: Readonly<Record<string, number>>): readonly (readonly [string, number])[] {
  return Object.entries(counts).map(([state, value]) => [`{state="${state}"}`, value] as const);
}

function family(
  name: string,
  type: "counter" | "gauge" | "histogram",
  help: string,
  lines: readonly string[],
): readonly string[] {
  return lines.length === 0 ? [] : [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines];
}
