import { expect, test } from "vitest";
import { InstanceFigures } from "./instance-figures.ts";

const answered = (status: number) => ({ method: "GET", route: "/readyz", status, held: false });

test("tells once a minute what the instance did, and begins anew", () => {
  const figures = new InstanceFigures(0);
  const gauges = { Revision: 7, Clusters: 2 };
  for (const status of [200, 304, 304, 429, 404, 503]) figures.answered(answered(status), 2);
  figures.charged({ read: 1.5, write: 6, retries: 1 });
  expect(figures.flush(59_999, gauges)).toBeUndefined();
  const line = JSON.parse(figures.flush(60_000, gauges) ?? "") as Record<string, unknown>;
  expect(line).toMatchObject({
    role: "registry",
    Requests: 6,
    LatencyMs: 12,
    NotModified: 2,
    Limited: 1,
    Refusals: 1,
    Faults: 1,
    ReadUnits: 1.5,
    WriteUnits: 6,
    Retries: 1,
    Revision: 7,
    Clusters: 2,
    _aws: { Timestamp: 60_000 },
  });
  // As the format's specification wants it: every metric that is named is there, and a number.
  const [{ Metrics, Dimensions }] = (
    line["_aws"] as { CloudWatchMetrics: [{ Metrics: { Name: string }[]; Dimensions: string[][] }] }
  ).CloudWatchMetrics;
  for (const { Name } of Metrics) expect(typeof line[Name], Name).toBe("number");
  for (const name of Dimensions.flat()) expect(typeof line[name], name).toBe("string");
  figures.answered(answered(200), 1);
  expect(figures.flush(61_000, gauges)).toBeUndefined();
  expect(JSON.parse(figures.flush(120_000, gauges) ?? "")).toMatchObject({ Requests: 1, ReadUnits: 0 });
  expect(figures.flush(999_999, gauges)).toBeUndefined();
});
