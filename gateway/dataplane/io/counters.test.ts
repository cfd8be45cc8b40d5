import { describe, expect, it } from "vitest";
import { CounterFamily, Metrics } from "./counters.ts";

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

describe("the metrics of a process", () => {
  it("name every family once, each with help and type", () => {
    const text = new Metrics().render();
    const names = [...text.matchAll(/^# TYPE (\S+) (counter|gauge)$/gm)].map(([, name]) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toContain("isthmus_refusals_total");
    for (const name of names) expect(text).toContain(`# HELP ${name} `);
  });
});
