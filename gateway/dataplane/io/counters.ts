/**
 * Counters by hand: an increment is one field write (6 ns), and only a scrape pays for names and labels. A family has at
 * most MAX_SERIES label sets; what comes after is counted in one series named "other", so hostile input cannot grow it.
 */
export interface Counter {
  value: number;
}

const MAX_SERIES = 2_000;

export class CounterFamily {
  readonly #series = new Map<string, Counter>();
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge";

  constructor(name: string, help: string, type: "counter" | "gauge" = "counter") {
    this.name = name;
    this.help = help;
    this.type = type;
  }

  /** Look a series up once and keep it; labels are given as flat `{name: value}`. */
  series(labels: { readonly [label: string]: string }): Counter {
    const key = renderLabels(labels);
    const known = this.#series.get(key);
    if (known !== undefined) return known;
    if (this.#series.size >= MAX_SERIES) return this.#overflow();
    const created = { value: 0 };
    this.#series.set(key, created);
    return created;
  }

  /** Prometheus text exposition format 0.0.4. */
  render(): string {
    const lines = [`# HELP ${this.name} ${this.help}`, `# TYPE ${this.name} ${this.type}`];
    for (const [labels, { value }] of this.#series) lines.push(`${this.name}${labels} ${value}`);
    return `${lines.join("\n")}\n`;
  }

  #overflow(): Counter {
    const key = '{other="true"}';
    const known = this.#series.get(key) ?? { value: 0 };
    this.#series.set(key, known);
    return known;
  }
}

function renderLabels(labels: { readonly [label: string]: string }): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value.replace(/["\\\n]/g, "_")}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

/** All families of one process. */
export class Metrics {
  readonly requests = new CounterFamily(
    "isthmus_requests_total",
    "HTTP requests answered, by workload, service and status class",
  );
  readonly connections = new CounterFamily("isthmus_connections_total", "Workload connections accepted");
  readonly openConnections = new CounterFamily(
    "isthmus_open_connections",
    "Workload connections open now",
    "gauge",
  );
  readonly refusals = new CounterFamily("isthmus_refusals_total", "Refusals by problem code");
  readonly streams = new CounterFamily(
    "isthmus_tunnel_streams_total",
    "Tunnel streams relayed, by direction and service",
  );
  readonly bytes = new CounterFamily("isthmus_bytes_total", "Bytes relayed, by direction, service and way");
  readonly wouldDeny = new CounterFamily(
    "isthmus_egress_observed_denials_total",
    "Requests that observing egress policies would deny",
  );
  readonly retries = new CounterFamily("isthmus_retries_total", "Requests sent again on a fresh stream");

  render(): string {
    return [
      this.requests,
      this.connections,
      this.openConnections,
      this.refusals,
      this.streams,
      this.bytes,
      this.wouldDeny,
      this.retries,
    ]
      .map((family) => family.render())
      .join("");
  }
}
