// Longer than other files: what each kind of rule becomes, and a table of what is refused of it, read side by side.
import { describe, expect, it } from "vitest";
import {
  exportOf,
  importOf,
  openRegistryScene,
  type RegistryScene,
} from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import type { AppliedResource } from "../model/resource.ts";
import type { SnapshotRules } from "../model/snapshot.ts";

const directory = useTempDirs();
const apiVersion = "isthmus.dev/v1alpha1";
const limit = { requests: 100, unit: "Second" } as const;

/** East exports cart to west and north, which both import it. */
async function scene(): Promise<
  RegistryScene & { rules(cluster: string): Promise<SnapshotRules | undefined> }
> {
  const opened = await openRegistryScene({ directory: directory() });
  const clusters = new Map<string, Awaited<ReturnType<RegistryScene["join"]>>>();
  for (const name of ["east", "west", "north"]) clusters.set(name, await opened.join(name));
  const [east] = clusters.values();
  if (east === undefined) throw new Error("east did not join");
  await opened.reportServices(east, "cart");
  await opened.apply(
    exportOf("east", "cart", "west", "north"),
    importOf("west", "cart", "east"),
    importOf("north", "cart", "east"),
  );
  return {
    ...opened,
    async rules(cluster) {
      const joined = clusters.get(cluster);
      if (joined === undefined) throw new Error(`no cluster ${cluster}`);
      return (await opened.snapshot(joined)).rules;
    },
  };
}

function rule(kind: string, cluster: string, name: string, spec: object): AppliedResource {
  return { apiVersion, kind, metadata: { cluster, namespace: "shop", name }, spec } as AppliedResource;
}

const imported = [{ kind: "ServiceImport", name: "cart" }];
const owned = [{ kind: "Service", name: "cart" }];
const service = { namespace: "shop", name: "cart" };

describe("rules in a snapshot", () => {
  it("are absent where there are none", async () => {
    expect(await (await scene()).rules("west")).toBeUndefined();
  });

  it("of a consumer are in its own snapshot only, with every figure filled in", async () => {
    const { apply, rules } = await scene();
    expect((await apply(rule("RateLimit", "west", "l", { targetRefs: imported, limit }))).status).toBe(200);
    expect((await rules("west"))?.rateLimits).toEqual([
      {
        name: "west/shop/l",
        service,
        from: [],
        requests: 100,
        unitMs: 1_000,
        burst: 5,
        scope: "Shared",
        mode: "enforce",
      },
    ]);
    expect(await rules("north")).toBeUndefined();
    expect(await rules("east")).toBeUndefined();
  });

  it("of an owner are in the snapshots of its consumers, for what goes to the owner's cluster", async () => {
    const { apply, rules } = await scene();
    await apply(rule("RateLimit", "east", "l", { targetRefs: owned, version: "v2", limit, scope: "Local" }));
    const expected = [
      expect.objectContaining({ name: "east/shop/l", cluster: "east", version: "v2", scope: "Local" }),
    ];
    expect((await rules("west"))?.rateLimits).toEqual(expected);
    expect((await rules("north"))?.rateLimits).toEqual(expected);
  });

  it("reach only the clusters that they mean", async () => {
    const { apply, rules } = await scene();
    const from = [
      { cluster: "north" },
      { trustDomain: "west.demo.mesh", namespace: "shop", header: { name: "X-Tier", value: "free" } },
    ];
    await apply(rule("RateLimit", "east", "l", { targetRefs: owned, from, limit }));
    expect((await rules("north"))?.rateLimits[0]?.from).toEqual([]);
    expect((await rules("west"))?.rateLimits[0]?.from).toEqual([
      { workload: "ns/shop/sa/*", header: { name: "x-tier", value: "free" } },
    ]);
    await apply(rule("RateLimit", "east", "l", { targetRefs: owned, from: [{ cluster: "south" }], limit }));
    expect(await rules("west")).toBeUndefined();
  });

  it.each([
    ["ns/shop/sa/web", "shop", [{ workload: "ns/shop/sa/web" }]],
    ["ns/*/sa/web", "shop", [{ workload: "ns/shop/sa/web" }]],
    ["*", "shop", [{ workload: "ns/shop/sa/*" }]],
    ["ns/other/sa/web", "shop", undefined],
  ])("narrow the workload %s to the namespace %s", async (workload, namespace, expected) => {
    const { apply, rules } = await scene();
    await apply(
      rule("RateLimit", "west", "l", { targetRefs: imported, from: [{ workload, namespace }], limit }),
    );
    expect((await rules("west"))?.rateLimits[0]?.from).toEqual(expected);
  });

  it("let the consumer's policy win over the owner's, and the older over the newer", async () => {
    const { apply, rules, clock } = await scene();
    await apply(
      rule("BackendTrafficPolicy", "east", "theirs", {
        targetRefs: owned,
        circuitBreaker: { maxConnections: 7 },
      }),
    );
    expect((await rules("west"))?.backends[0]).toMatchObject({
      name: "east/shop/theirs",
      cluster: "east",
      circuit: { maxConnections: 7 },
    });
    await apply(
      rule("BackendTrafficPolicy", "west", "older", { targetRefs: imported, outlierDetection: {} }),
    );
    clock.advance(5_000);
    await apply(
      rule("BackendTrafficPolicy", "west", "newer", {
        targetRefs: imported,
        circuitBreaker: { maxConnections: 1 },
      }),
    );
    expect((await rules("west"))?.backends).toEqual([
      {
        name: "west/shop/older",
        service,
        mode: "enforce",
        outlier: {
          consecutiveErrors: 5,
          baseEjectionMs: 30_000,
          maxEjectionMs: 300_000,
          maxEjectionPercent: 50,
        },
      },
    ]);
    expect((await rules("north"))?.backends[0]?.name).toBe("east/shop/theirs");
  });

  it("let one that only observes stand behind those in force", async () => {
    const { apply, rules, clock } = await scene();
    const policy = (cluster: string, name: string, mode: string, targetRefs: object) =>
      apply(rule("BackendTrafficPolicy", cluster, name, { targetRefs, mode, circuitBreaker: {} }));
    const names = async () => (await rules("west"))?.backends.map(({ name }) => name);
    await policy("west", "observing", "observe", imported);
    await policy("east", "theirs", "enforce", owned);
    expect(await names()).toEqual(["east/shop/theirs", "west/shop/observing"]);
    clock.advance(5_000);
    await policy("west", "newer", "enforce", imported);
    expect(await names()).toEqual(["west/shop/newer"]);
  });

  it("carry every part of a policy", async () => {
    const { apply, rules } = await scene();
    await apply(
      rule("BackendTrafficPolicy", "west", "all", {
        targetRefs: imported,
        mode: "observe",
        failover: {
          priorities: [{ clusters: [{ cluster: "east" }, { cluster: "south", weight: 3 }] }],
          failback: { delay: "1s" },
        },
        circuitBreaker: { maxPendingRequests: 0 },
        sessionPersistence: {
          sessionName: "sid",
          absoluteTimeout: "1h",
          cookieConfig: { lifetimeType: "Permanent" },
        },
        retryConstraint: { budget: { percent: 10 } },
      }),
    );
    expect((await rules("west"))?.backends).toEqual([
      {
        name: "west/shop/all",
        service,
        mode: "observe",
        failover: {
          levels: [
            [
              { cluster: "east", weight: 1 },
              { cluster: "south", weight: 3 },
            ],
          ],
          overprovisioning: 1.4,
          panicThreshold: 0.5,
          failbackDelayMs: 1_000,
          failbackRampMs: 10_000,
        },
        circuit: { maxPendingRequests: 0 },
        session: { name: "sid", type: "Cookie", absoluteTimeoutMs: 3_600_000, permanent: true },
        retry: { percent: 10, intervalMs: 10_000, minCount: 10, minIntervalMs: 1_000 },
      },
    ]);
  });

  it("tell when what they are about is not there", async () => {
    const { apply } = await scene();
    const answer = await apply(
      rule("RateLimit", "west", "a", { targetRefs: [{ kind: "ServiceImport", name: "crat" }], limit }),
      rule("Rollout", "west", "b", {
        targetRef: { kind: "Service", name: "cart" },
        stable: { version: "v1" },
        canary: { version: "v2" },
        steps: [{ setWeight: 10 }],
      }),
    );
    expect(answer.json).toMatchObject({
      results: [
        {
          conditions: [
            {
              type: "Ready",
              status: "False",
              reason: "NotImported",
              message: "cluster west does not import crat.shop (did you mean cart.shop?)",
            },
          ],
        },
        { conditions: [{ reason: "NotExported" }, { type: "Progressing", status: "Unknown" }] },
      ],
    });
  });
});

describe("a bad rule", () => {
  it.each([
    ["RateLimit", { targetRefs: [], limit }, ["spec.targetRefs"]],
    [
      "RateLimit",
      { targetRefs: imported, limit: { requests: 0, unit: "Day" } },
      ["spec.limit.requests", "spec.limit.unit"],
    ],
    ["RateLimit", { targetRefs: imported, limit, from: [{}] }, ["spec.from[0]"]],
    [
      "RateLimit",
      { targetRefs: imported, limit, from: [{ header: { name: "a b", value: "" } }] },
      ["spec.from[0].header.name"],
    ],
    ["RateLimit", { targetRefs: [...imported, ...imported], limit }, ["spec.targetRefs[1]"]],
    ["BackendTrafficPolicy", { targetRefs: owned, failover: {} }, ["spec.failover"]],
    [
      "BackendTrafficPolicy",
      {
        targetRefs: imported,
        failover: { priorities: [{ clusters: [{ cluster: "a" }] }, { clusters: [{ cluster: "a" }] }] },
      },
      ["spec.failover.priorities[1].clusters[0].cluster"],
    ],
    [
      "BackendTrafficPolicy",
      { targetRefs: imported, outlierDetection: { baseEjectionTime: "1d" } },
      ["spec.outlierDetection.baseEjectionTime"],
    ],
    [
      "BackendTrafficPolicy",
      { targetRefs: imported, circuitBreaker: { maxConnections: 0 } },
      ["spec.circuitBreaker.maxConnections"],
    ],
    [
      "BackendTrafficPolicy",
      {
        targetRefs: imported,
        sessionPersistence: { sessionName: "a;b", cookieConfig: { lifetimeType: "Permanent" } },
      },
      ["spec.sessionPersistence.sessionName", "spec.sessionPersistence.absoluteTimeout"],
    ],
    [
      "BackendTrafficPolicy",
      { targetRefs: imported, sessionPersistence: { sessionName: "a", type: "Header", cookieConfig: {} } },
      ["spec.sessionPersistence.cookieConfig"],
    ],
    [
      "Rollout",
      {
        targetRef: imported[0],
        stable: { version: "v1" },
        canary: { version: "v1" },
        steps: [{ setWeight: 50 }, { setWeight: 20 }],
      },
      ["spec.canary.version", "spec.steps[1].setWeight"],
    ],
    [
      "Rollout",
      { targetRef: imported[0], stable: { version: "v1" }, canary: { version: "v2" }, steps: [] },
      ["spec.steps"],
    ],
  ])("(%s) is refused whole with its field paths", async (kind, spec, paths) => {
    const { apply, rules } = await scene();
    const answer = await apply(
      rule("RateLimit", "west", "good", { targetRefs: imported, limit }),
      rule(kind, "west", "bad", spec),
    );
    expect(answer.status).toBe(400);
    const issues = (answer.json as { issues: { path: string }[] }).issues.map(({ path }) => path);
    expect(issues).toEqual(paths.map((path) => `resources[1].${path}`));
    expect(await rules("west")).toBeUndefined();
  });
});
