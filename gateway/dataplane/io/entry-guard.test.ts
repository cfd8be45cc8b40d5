import { describe, expect, it } from "vitest";
import type { SnapshotRateLimit } from "../../../federation/model/snapshot.ts";
import {
  CANARY,
  goes,
  type GuardedEntry,
  guardedEntry,
  LIMIT,
  OUTLIER,
  ticket,
  viewOf,
  withPolicy,
} from "../../../test/fakes/guarded-entry.ts";
import { FailedTries } from "../balance/failed-tries.ts";
import { opaqueName } from "../balance/session-token.ts";

const EAST = opaqueName("east.test.mesh");
const FIRST = opaqueName("10.0.0.1:80");
const SECOND = opaqueName("10.0.0.2:80");

const cookie = { type: "Cookie", name: "s", permanent: false } as const;
const header = { type: "Header", name: "X-Session", permanent: false } as const;

const withLimits = (...rateLimits: readonly Partial<SnapshotRateLimit>[]) =>
  guardedEntry({ rateLimits: rateLimits.map((limit) => ({ ...LIMIT, ...limit })) });

describe("a session by cookie", () => {
  const sent = (scene: GuardedEntry, since = 0): Record<string, string> => ({
    cookie: `a=b; s=${EAST}.${FIRST}.${(scene.clock.now() / 1_000 - since).toString(36)}`,
  });

  it("goes to its endpoint at its cluster, wherever the request would go", () => {
    const scene = withPolicy({ session: cookie });
    expect(goes(scene, scene.north, sent(scene))).toBe(`east ${FIRST}`);
    expect(goes(scene, scene.east, sent(scene))).toBe(`east ${FIRST}`);
    expect(goes(scene, scene.north)).toBe("north");
    expect(goes(scene, scene.north, { cookie: "s=mine" })).toBe("north");
    expect(goes(scene, scene.north, { cookie: "s=" })).toBe("north");
  });

  it("is given up when its cluster gets no traffic", () => {
    const scene = withPolicy({ session: cookie });
    scene.ready("east", 0, 2);
    scene.ready("north", 2, 2);
    expect(goes(scene, scene.north, sent(scene))).toBe("north");
    scene.ready("east", 2, 2);
    // Held back while it returns.
    expect(goes(scene, scene.north, sent(scene))).toBe("north");
  });

  it("is kept at a cluster that the request goes to anyway", () => {
    const scene = withPolicy({ session: cookie });
    scene.ready("east", 0, 2);
    scene.ready("north", 2, 2);
    expect(goes(scene, scene.east, sent(scene))).toBe(`east ${FIRST}`);
  });

  it("goes by the permit of the request, not by that of an earlier one", () => {
    const scene = withPolicy({ session: cookie });
    goes(scene, scene.east, sent(scene));
    const permit = { ...scene.east.permit };
    const decision = { kind: "forward", target: { ...scene.east, permit } };
    const applied = scene.guard.apply(
      decision as Parameters<GuardedEntry["guard"]["apply"]>[0],
      viewOf(sent(scene)),
      scene.sources,
    );
    expect(applied).toHaveProperty("target.endpoint", FIRST);
    expect(applied.kind === "forward" && applied.target.permit).toBe(permit);
  });

  it("is given up when its endpoint is ejected, and when its time is over", () => {
    const scene = withPolicy({ session: { ...cookie, absoluteTimeoutMs: 60_000 }, outlier: OUTLIER });
    scene.ready("east", 4, 4);
    expect(goes(scene, scene.north, sent(scene, 60))).toBe(`east ${FIRST}`);
    expect(goes(scene, scene.north, sent(scene, 61))).toBe("north");
    for (let count = 0; count < 2; count++) ticket(scene, scene.east).answered(500, FIRST);
    expect(goes(scene, scene.north, sent(scene))).toBe("north");
  });

  it("is nothing where the rule only observes", () => {
    const scene = withPolicy({ session: cookie, mode: "observe" });
    expect(goes(scene, scene.north, sent(scene))).toBe("north");
    expect(scene.guard.sessionFields(scene.east, viewOf(), FIRST)).toBe("");
  });

  it("is said to the client when it begins or moves, not when it stays", () => {
    const scene = withPolicy({ session: { ...cookie, absoluteTimeoutMs: 60_000 } });
    const said = (fields: Record<string, string>, endpoint: string | undefined, target = scene.east) =>
      scene.guard.sessionFields(target, viewOf(fields), endpoint).split("; ")[0];
    const since = (scene.clock.now() / 1_000).toString(36);
    expect(said({}, FIRST)).toBe(`set-cookie: s=${EAST}.${FIRST}.${since}`);
    expect(said(sent(scene), FIRST)).toBe("");
    expect(said(sent(scene), SECOND)).toBe(`set-cookie: s=${EAST}.${SECOND}.${since}`);
    expect(said(sent(scene, 61), FIRST)).toBe(`set-cookie: s=${EAST}.${FIRST}.${since}`);
    expect(said(sent(scene), FIRST, scene.north)).toContain(`s=${opaqueName("north.test.mesh")}.`);
    expect(said(sent(scene), undefined)).toBe("");
  });

  it("outlives the browser only where the rule says so", () => {
    const fields = (permanent: boolean): string => {
      const { guard, east } = withPolicy({ session: { ...cookie, permanent, absoluteTimeoutMs: 60_000 } });
      return guard.sessionFields(east, viewOf(), FIRST);
    };
    expect(fields(true)).toMatch(/; Path=\/; HttpOnly; SameSite=Lax; Max-Age=60\r\n$/);
    expect(fields(false)).toMatch(/; Path=\/; HttpOnly; SameSite=Lax\r\n$/);
  });
});

describe("a session by header", () => {
  it("of a value that the client chose always has the same place, and others have others", () => {
    const scene = withPolicy({ session: header });
    const places = Array.from({ length: 50 }, (_, at) => goes(scene, scene.east, { "x-session": `u${at}` }));
    expect(places).toEqual(
      Array.from({ length: 50 }, (_, at) => goes(scene, scene.east, { "x-session": `u${at}` })),
    );
    expect(new Set(places).size).toBeGreaterThan(40);
    expect(places[0]).toMatch(/^east ~\d+$/);
    expect([goes(scene, scene.east), goes(scene, scene.east, { "x-session": "" })]).toEqual(["east", "east"]);
  });

  it("is given to a client that has none, and leads back", () => {
    const scene = withPolicy({ session: header });
    const said = scene.guard.sessionFields(scene.east, viewOf(), FIRST);
    expect(said).toMatch(/^X-Session: [0-9a-z.]+\r\n$/);
    const value = said.slice("X-Session: ".length, -2);
    expect(goes(scene, scene.north, { "x-session": value })).toBe(`east ${FIRST}`);
    expect(scene.guard.sessionFields(scene.east, viewOf({ "x-session": "mine" }), FIRST)).toBe("");
    // One of ours that holds no longer is replaced.
    expect(scene.guard.sessionFields(scene.east, viewOf({ "x-session": value }), SECOND)).toMatch(
      new RegExp(`\\.${SECOND}\\.`),
    );
  });
});

describe("a rate limit at the entry", () => {
  it("refuses what is beyond it and says after how many seconds to come again", () => {
    const scene = withLimits({ unitMs: 90_000 });
    expect([goes(scene, scene.east), goes(scene, scene.north)]).toEqual(["east", "rate_limited 90"]);
    scene.clock.advance(88_500);
    expect(goes(scene, scene.east)).toBe("rate_limited 2");
    scene.clock.advance(1_500);
    expect(goes(scene, scene.east)).toBe("east");
    expect(scene.verdicts(LIMIT.name, "limited")).toBe(2);
  });

  it("counts beyond its limit, and refuses nothing, where it only observes", () => {
    const scene = withLimits({ mode: "observe" });
    expect([1, 2, 3].map(() => goes(scene, scene.east))).toEqual(["east", "east", "east"]);
    expect([scene.verdicts(LIMIT.name, "limited", "observe"), scene.verdicts(LIMIT.name, "limited")]).toEqual(
      [2, 0],
    );
  });

  it("counts only what it is about, and stands beside others", () => {
    const scene = withLimits({ cluster: "east" }, { name: "west/shop/all", requests: 3, burst: 3 });
    const asked = [scene.east, scene.east, scene.north, scene.north].map((target) => goes(scene, target));
    expect(asked).toEqual(["east", "rate_limited 1", "north", "north"]);
    expect(goes(scene, scene.north)).toBe("rate_limited 1");
  });

  it("of a version counts what a rollout sends there", () => {
    const rateLimits = [{ ...LIMIT, version: "v2" }];
    const scene = guardedEntry({ rateLimits, rollouts: [CANARY] });
    expect([goes(scene, scene.east), goes(scene, scene.east)]).toEqual(["east v2", "rate_limited 1"]);
  });

  it("that changes keeps what was spent, and goes by its new rate from then on", () => {
    const scene = withLimits({});
    const passes = (requests: number, afterMs: number): boolean => {
      const guard = scene.guardBy({ rateLimits: [{ ...LIMIT, requests }] });
      scene.clock.advance(afterMs);
      return guard.applyToConnection(scene.east, scene.sources) === scene.east;
    };
    expect([passes(1, 0), passes(10, 0), passes(10, 100), passes(1, 0), passes(1, 100)]).toEqual([
      true,
      false,
      true,
      false,
      false,
    ]);
  });

  it("holds for connections of which no request is looked at, unless it asks for a field", () => {
    const scene = withLimits({});
    expect(scene.guard.applyToConnection(scene.east, scene.sources)).toBe(scene.east);
    expect(scene.guard.applyToConnection(scene.east, scene.sources)).toMatchObject({
      problem: { name: "rate_limited" },
    });
    const byField = withLimits({ from: [{ header: { name: "x-tier", value: "free" } }] });
    for (let count = 0; count < 3; count++)
      expect(byField.guard.applyToConnection(byField.east, byField.sources)).toBe(byField.east);
  });
});

describe("where a request goes", () => {
  it("is divided by priority and readiness, and nowhere else while one source is all there is", () => {
    const scene = withPolicy({});
    expect(scene.guard.pick([scene.north])).toBe(scene.north);
    expect(scene.guard.pick(scene.sources)).toBe(scene.east);
    scene.ready("east", 0, 2);
    scene.ready("north", 2, 2);
    expect(scene.guard.pick(scene.sources)).toBe(scene.north);
  });

  it("returns by and by to a cluster that has come back, also while nothing is heard of it", () => {
    const scene = withPolicy({});
    scene.ready("north", 2, 2);
    for (const ready of [0, 2]) {
      scene.ready("east", ready, 2);
      expect(scene.guard.pick(scene.sources)).toBe(scene.north);
    }
    scene.clock.advance(20_000);
    scene.guard.pick(scene.sources);
    scene.clock.advance(1_000);
    expect(scene.guard.pick(scene.sources)).toBe(scene.east);
  });

  it("is its own cluster first, where no policy has levels", () => {
    const picked = [0, 0.9].map((random) => {
      const { guard, sources } = guardedEntry({}, ["east", "west"], () => random);
      return guard.pick(sources)?.destination;
    });
    expect(picked).toEqual(["west.test.mesh", "west.test.mesh"]);
  });

  it("is a connection's by the rollout, too", () => {
    const { guard, east } = guardedEntry({ rollouts: [CANARY] });
    expect(guard.applyToConnection(east, [east])).toMatchObject({ version: "v2" });
  });

  it("is known with its endpoints from the first request on, and as they change", () => {
    const scene = withPolicy({});
    scene.ready("east", 1, 4);
    const { endpoints } = scene.guard.destination(scene.east);
    scene.ready("east", 3, 5);
    expect([endpoints, scene.guard.destination(scene.east).endpoints]).toEqual([4, 5]);
  });

  it("follows the levels of a policy, not of one that only observes", () => {
    const failover = {
      // What no level names comes last.
      levels: [[{ cluster: "north", weight: 1 }]],
      overprovisioning: 1.4,
      panicThreshold: 0.5,
      failbackDelayMs: 0,
      failbackRampMs: 0,
    };
    const picked = (mode: "enforce" | "observe") => {
      const { guard, sources } = withPolicy({ failover, mode });
      return guard.pick(sources)?.destination;
    };
    expect([picked("enforce"), picked("observe")]).toEqual(["north.test.mesh", "east.test.mesh"]);
  });

  it("is another cluster after a failure, and the same where there is no other", () => {
    const scene = withPolicy({});
    for (const cluster of ["east", "north"] as const) scene.ready(cluster, 1, 1);
    const failed = new FailedTries();
    failed.add(scene.east.destination, "a", "reset");
    expect(scene.guard.pickOther(scene.east, scene.sources, failed)).toBe(scene.north);
    expect(scene.guard.pickOther(scene.east, [scene.east], failed)).toBe(scene.east);
  });
});
