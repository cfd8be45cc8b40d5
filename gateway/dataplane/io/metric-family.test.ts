import { describe, expect, it } from "vitest";
import { Metrics } from "./counters.ts";
import { CounterFamily, HistogramFamily } from "./metric-family.ts";

describe("a family of counters", () => {
  it("gives the same counter for the same labels", () => {
    const family = new CounterFamily("requests", "Requests");
    family.series({ service: "a" }).value += 1;
    family.series({ service: "a" }).value += 1;
    family.series({ service: "b" }).value += 1;
    expect(family.render()).toBe(
      '# HELP requests Requests\n# TYPE requests counter\nrequests{service="a"} 2\nrequests{service="b"} 1\n',
    );
  });

  it("has one series without labels", () => {
    const family = new CounterFamily("up", "Up", "gauge");
    family.series({}).value = 1;
    expect(family.render()).toContain("# TYPE up gauge\nup 1\n");
  });

  it("counts what goes beyond two thousand label sets together, so that hostile input cannot grow it", () => {
    const family = new CounterFamily("requests", "Requests");
    for (let index = 0; index < 5_000; index++) family.series({ service: `s${index}` }).value += 1;
    const lines = family.render().trimEnd().split("\n");
    expect(lines).toHaveLength(2 + 2_000 + 1);
    expect(lines.at(-1)).toBe('requests{other="true"} 3000');
    expect(family.series({ service: "s0" }).value).toBe(1);
  });

  it("never lets a label break the line it stands in", () => {
    const family = new CounterFamily("requests", "Requests");
    family.series({ service: 'a"} 1\nevil{b="\\' });
    expect(family.render().split("\n")).toHaveLength(4);
    expect(family.render()).not.toMatch(/^evil/m);
  });
});

describe("a family of histograms", () => {
  it("renders cumulative buckets, their sum and their count", () => {
    const family = new HistogramFamily("took_seconds", "Took");
    const series = family.series({ service: "a" });
    for (const seconds of [0.0004, 0.0005, 0.003, 100]) series.observe(seconds);
    const text = family.render();
    expect(text).toContain("# TYPE took_seconds histogram\n");
    expect(text).toContain('took_seconds_bucket{service="a",le="0.0005"} 2\n');
    expect(text).toContain('took_seconds_bucket{service="a",le="0.0025"} 2\n');
    expect(text).toContain('took_seconds_bucket{service="a",le="0.005"} 3\n');
    expect(text).toContain('took_seconds_bucket{service="a",le="60"} 3\n');
    expect(text).toContain('took_seconds_bucket{service="a",le="+Inf"} 4\n');
    expect(text).toContain('took_seconds_sum{service="a"} 100.0039\n');
    expect(text).toContain('took_seconds_count{service="a"} 4\n');
  });
});

describe("the metrics of a process", () => {
  it("name every family once, each with help and type", () => {
    const text = new Metrics().render();
    const names = [...text.matchAll(/^# TYPE (\S+) (counter|gauge|histogram)$/gm)].map(([, name]) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("isthmus_refusals_total");
    for (const name of names) expect(text).toContain(`# HELP ${name} `);
  });
});
