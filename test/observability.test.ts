import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { Metrics } from "../gateway/dataplane/io/counters.ts";
import { type Mesh, startMesh } from "./fakes/mesh.ts";
import { startHttpWorkload, type Workload } from "./fakes/workloads.ts";

const FOLDER = new URL("../infra/observability/", import.meta.url);
const read = (name: string): string => readFileSync(new URL(name, FOLDER), "utf8");

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets: readonly { readonly expr: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly query: unknown }[] };
}
interface Rules {
  readonly groups: readonly {
    readonly rules: readonly { readonly alert: string; readonly expr: string }[];
  }[];
}

/** Names of metrics in an expression; a pattern over names stands for each of its alternatives. */
function metricsIn(expression: string): string[] {
  const pattern = /isthmus_\(([a-z_|]+)\)([a-z_]*)/.exec(expression);
  const spelled = (pattern?.[1] ?? "").split("|").filter(Boolean);
  const alternatives = spelled.map((word) => `isthmus_${word}${pattern?.[2] ?? ""}`);
  return [...expression.replace(pattern?.[0] ?? "", "").matchAll(/isthmus_[a-z_]+/g)]
    .map(([name]) => name)
    .concat(alternatives);
}

describe("the dashboard and the alerting rules", () => {
  const exported = new Set(new Metrics().families.map(({ name }) => name));
  const dashboard = JSON.parse(read("dashboard.json")) as Dashboard;
  const rules = (parse(read("alerts.yaml")) as Rules).groups.flatMap(({ rules: all }) => all);
  const expressions = [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    JSON.stringify(dashboard.templating.list.map(({ query }) => query)),
    ...rules.map(({ expr }) => expr),
  ];

  it("name only metrics that are exported", () => {
    const named = expressions.flatMap(metricsIn).map((name) => name.replace(/_(?:bucket|sum|count)$/, ""));
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !exported.has(name))).toEqual([]);
  });

  it("name only labels that a request has", () => {
    const labels = new Set(
      expressions.flatMap((text) =>
        [...text.matchAll(/by \(([a-z_, ]+)\)/g)].flatMap(([, list = ""]) => list.split(", ")),
      ),
    );
    const known =
      "source_cluster destination_cluster service port version route workload status verdict reason direction way le instance code cluster state";
    expect([...labels].filter((label) => !known.split(" ").includes(label))).toEqual([]);
  });
});

const promtool = spawnSync("promtool", ["--version"]).status === 0;

// Prometheus's own reading of what we write. Debian: apt-get install prometheus.
describe.skipIf(!promtool)(`judged by promtool${promtool ? "" : " (skipped: it is not installed)"}`, () => {
  let cart: Workload;
  let mesh: Mesh;
  beforeAll(async () => {
    cart = await startHttpWorkload();
    mesh = await startMesh({ endpoint: cart.address });
    for (const workload of ["web", "batch"]) {
      const answer = await fetch(`http://${mesh.address(`ns/shop/sa/${workload}`)}/`);
      await answer.arrayBuffer();
    }
  });
  afterAll(async () => {
    mesh.close();
    await cart.stop();
  });

  it("the metrics of every process are well-formed", () => {
    for (const { proxy } of mesh.members.values()) {
      const { status, stderr, stdout } = spawnSync("promtool", ["check", "metrics"], {
        input: proxy.metrics(),
      });
      expect(`${String(stdout)}${String(stderr)}`).toBe("");
      expect(status).toBe(0);
    }
  });

  it("the alerting rules are valid", () => {
    const file = fileURLToPath(new URL("alerts.yaml", FOLDER));
    expect(execFileSync("promtool", ["check", "rules", file], { encoding: "utf8" })).toContain("SUCCESS");
  });
});
