/**
 * Prometheus text of several processes as if they were one: samples of the same name and labels add up. Of a process that is
 * gone the last counts are kept, since a counter that falls looks like a restart of all of them.
 */
export class MetricSum {
  /** By slot: what was last read of the process in it. */
  readonly #last = new Map<string, Samples>();
  #gone: Samples = new Map();
  readonly #about = new Map<string, string>();

  /** What the process in a slot says now. */
  read(slot: string, text: string): void {
    this.#last.set(slot, this.#parse(text));
  }

  /** The process in a slot is gone; another one counts from zero. */
  retire(slot: string): void {
    const last = this.#last.get(slot);
    this.#last.delete(slot);
    if (last === undefined) return;
    const counters = [...last].filter(([sample]) => !this.#isGauge(sample));
    this.#gone = add([this.#gone, new Map(counters)]);
  }

  render(): string {
    const lines: string[] = [];
    let family = "";
    for (const [sample, value] of add([this.#gone, ...this.#last.values()])) {
      const name = this.#familyOf(sample);
      if (name !== family) lines.push(...(this.#about.get(name)?.split("\n") ?? []));
      family = name;
      lines.push(`${sample} ${value}`);
    }
    return `${lines.join("\n")}\n`;
  }

  #parse(text: string): Samples {
    const samples: Samples = new Map();
    for (const line of text.split("\n")) {
      if (line.startsWith("# HELP ")) this.#about.set(line.split(" ", 3)[2] ?? "", line);
      else if (line.startsWith("# TYPE ")) this.#addType(line);
      else {
        const space = line.lastIndexOf(" ");
        if (space > 0) samples.set(line.slice(0, space), Number(line.slice(space + 1)));
      }
    }
    return samples;
  }

  #addType(line: string): void {
    const name = line.split(" ", 3)[2] ?? "";
    const help = this.#about.get(name)?.split("\n", 1)[0];
    this.#about.set(name, help === undefined ? line : `${help}\n${line}`);
  }

  #familyOf(sample: string): string {
    const name = sample.split("{", 1)[0] ?? "";
    return this.#about.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, "");
  }

  #isGauge(sample: string): boolean {
    return this.#about.get(this.#familyOf(sample))?.endsWith(" gauge") === true;
  }
}

/** By name with labels; samples of one family stand together, in the order of the text. */
type Samples = Map<string, number>;

function add(all: readonly Samples[]): Samples {
  const sums: Samples = new Map();
  for (const samples of all) {
    for (const [sample, value] of samples) sums.set(sample, (sums.get(sample) ?? 0) + value);
  }
  return group(sums);
}

/** A series that only a later process has must still stand with its family. */
function group(samples: Samples): Samples {
  const byName = new Map<string, [string, number][]>();
  for (const entry of samples) {
    const name = (entry[0].split("{", 1)[0] ?? "").replace(/_(?:bucket|sum|count)$/, "");
    const known = byName.get(name);
    if (known === undefined) byName.set(name, [entry]);
    else known.push(entry);
  }
  return new Map([...byName.values()].flat());
}
