import { describe, expect, it } from "vitest";
import { MetricSum } from "./sum-metrics.ts";

const text = (requests: Record<string, number>, open: number): string =>
  [
    "# HELP requests_total Requests",
    "# TYPE requests_total counter",
    ...Object.entries(requests).map(([status, count]) => `requests_total{status="${status}"} ${count}`),
    "# HELP open Open now",
    "# TYPE open gauge",
    `open ${open}`,
    "# HELP took_seconds Took",
    "# TYPE took_seconds histogram",
    `took_seconds_bucket{le="+Inf"} ${open}`,
    `took_seconds_sum ${open}`,
    `took_seconds_count ${open}`,
    "",
  ].join("\n");

describe("the metrics of several processes", () => {
  it("add up by name and labels, each family once and in one piece", () => {
    const sum = new MetricSum();
    sum.read("1", text({ "2xx": 5 }, 1));
    sum.read("2", text({ "2xx": 7, "5xx": 1 }, 2));
    expect(sum.render()).toBe(text({ "2xx": 12, "5xx": 1 }, 3));
  });

  it("never fall when a process is replaced, but what is open in it is gone", () => {
    const sum = new MetricSum();
    sum.read("1", text({ "2xx": 5 }, 1));
    sum.read("2", text({ "2xx": 7 }, 2));
    sum.retire("1");
    expect(sum.render()).toContain('requests_total{status="2xx"} 12\n');
    expect(sum.render()).toContain("open 2\n");
    sum.read("1", text({ "2xx": 1 }, 1));
    expect(sum.render()).toContain('requests_total{status="2xx"} 13\n');
    expect(sum.render()).toContain("took_seconds_count 4\n");
  });
});
