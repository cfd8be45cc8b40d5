/**
 * Counting by hand: an increment is one field write (6 ns), and only a scrape pays for names and labels. A family has at most
 * MAX_SERIES label sets; what comes after is counted in one series `other="true"`, so hostile input cannot grow it.
 */
export interface Labels {
  readonly [label: string]: string;
}

export interface Counter {
  value: number;
}

export type MetricType = "counter" | "gauge" | "histogram";

export interface Series<S> {
  readonly labels: Labels;
  readonly value: S;
}

const MAX_SERIES = 2_000;
const OTHER: Labels = { other: "true" };

/** Look a series up once and keep it. */
abstract class Family<S> {
  readonly name: string;
  readonly help: string;
  abstract readonly type: MetricType;
  readonly #series = new Map<string, Series<S>>();

  constructor(name: string, help: string) {
    this.name = name;
    this.help = help;
  }

  /** Labels are flat `{name: value}`; the same ones give the same series. */
  series(labels: Labels): S {
    const key = renderLabels(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known.value;
    return this.#series.size >= MAX_SERIES ? this.#make(OTHER) : this.#make(labels);
  }

  /** Forgets all series: for gauges whose things may be gone. */
  clear(): void {
    this.#series.clear();
  }

  all(): Iterable<Series<S>> {
    return this.#series.values();
  }

  /** Prometheus text exposition format 0.0.4. */
  render(): string {
    const lines = [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} ${this.type}`];
    for (const { labels, value } of this.#series.values()) this.renderSeries(labels, value, lines);
    return `${lines.join("\n")}\n`;
  }

  protected abstract create(): S;
  protected abstract renderSeries(labels: Labels, value: S, lines: string[]): void;

  #make(labels: Labels): S {
    const key = renderLabels(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known.value;
    const value = this.create();
    this.#series.set(key, { labels, value });
    return value;
  }
}

export class CounterFamily extends Family<Counter> {
  readonly type: "counter" | "gauge";

  constructor(name: string, help: string, type: "counter" | "gauge" = "counter") {
    super(name, help);
    this.type = type;
  }

  protected create(): Counter {
    return { value: 0 };
  }

  protected renderSeries(labels: Labels, { value }: Counter, lines: string[]): void {
    lines.push(`${this.name}${renderLabels(labels)} ${value}`);
  }
}

/** Upper bounds of latency buckets in seconds: a hop within a machine takes 0.5 ms, the slowest answer we wait for 300 s. */
export const LATENCY_BOUNDS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60,
];

export class Histogram {
  /** Of each bucket alone, the last one without bound. */
  readonly counts: number[] = Array.from({ length: LATENCY_BOUNDS.length + 1 }, () => 0);
  sum = 0;

  observe(value: number): void {
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS.length && value > (LATENCY_BOUNDS[bucket] ?? 0)) bucket += 1;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sum += value;
  }

  get count(): number {
    return this.counts.reduce((total, count) => total + count, 0);
  }
}

export class HistogramFamily extends Family<Histogram> {
  readonly type = "histogram" as const;

  protected create(): Histogram {
    return new Histogram();
  }

  protected renderSeries(labels: Labels, histogram: Histogram, lines: string[]): void {
    let below = 0;
    for (const [index, count] of histogram.counts.entries()) {
      below += count;
      const le = LATENCY_BOUNDS[index] ?? "+Inf";
      lines.push(`${this.name}_bucket${renderLabels({ ...labels, le: String(le) })} ${below}`);
    }
    lines.push(`${this.name}_sum${renderLabels(labels)} ${histogram.sum}`);
    lines.push(`${this.name}_count${renderLabels(labels)} ${below}`);
  }
}

export type MetricFamily = CounterFamily | HistogramFamily;

function renderLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/["\\\n]/g, "_")}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}
