import { describe, expect, it } from "vitest";
import {
  BACKEND,
  CANARY,
  goes,
  type GuardedEntry,
  guardedEntry,
  LIMIT,
} from "../../../test/fakes/guarded-entry.ts";
import type { SnapshotBackend } from "../../../federation/model/snapshot.ts";
import { FailedTries } from "../balance/failed-tries.ts";
import { opaqueName } from "../balance/session-token.ts";

const EAST = opaqueName("east.test.mesh");
const FIRST = opaqueName("10.0.0.1:80");
const cookie = { type: "Cookie", name: "s", permanent: false } as const;
const header = { type: "Header", name: "X-Session", permanent: false } as const;

const failover = (
  ...levels: readonly (readonly { readonly cluster: string; readonly weight: number }[])[]
) => ({
  levels,
  overprovisioning: 1.4,
  panicThreshold: 0.5,
  failbackDelayMs: 5_000,
  failbackRampMs: 0,
});
const NORTH_FIRST = failover([{ cluster: "north", weight: 1 }], [{ cluster: "east", weight: 1 }]);

/** So many evenly spread draws, over and over. */
function evenly(count: number): () => number {
  let at = 0;
  return () => (at++ % count) / count;
}

const observing = (rule: Partial<SnapshotBackend>, random?: () => number) =>
  guardedEntry({ backends: [{ ...BACKEND, mode: "observe", ...rule }] }, undefined, random);

const counted = (scene: GuardedEntry, verdict: string) => scene.verdicts(BACKEND.name, verdict, "observe");

describe("failover that only observes", () => {
  it("counts every request to a cluster that it would send nothing to, and no other", () => {
    const scene = observing({ failover: NORTH_FIRST });
    expect([goes(scene, scene.east), goes(scene, scene.east), goes(scene, scene.north)]).toEqual([
      "east",
      "east",
      "north",
    ]);
    expect([counted(scene, "failover"), scene.verdicts(BACKEND.name, "failover")]).toEqual([2, 0]);
  });

  it("counts of a cluster whose share it would make smaller that part", () => {
    const levels = failover([
      { cluster: "east", weight: 1 },
      { cluster: "north", weight: 3 },
    ]);
    const scene = observing({ failover: levels }, evenly(100));
    for (let count = 0; count < 100; count++) goes(scene, scene.east);
    // Half of all now, a quarter then.
    expect(counted(scene, "failover")).toBe(50);
    for (let count = 0; count < 100; count++) goes(scene, scene.north);
    expect(counted(scene, "failover")).toBe(50);
  });

  it("counts connections of which no request is looked at, and nothing where one source is all there is", () => {
    const scene = observing({ failover: NORTH_FIRST });
    expect(scene.guard.applyToConnection(scene.east, scene.sources)).toBe(scene.east);
    expect(counted(scene, "failover")).toBe(1);
    scene.guard.applyToConnection(scene.east, [scene.east]);
    expect(counted(scene, "failover")).toBe(1);
  });

  it("follows what is ready, with a failback of its own that leaves the one in force alone", () => {
    const scene = observing({ failover: NORTH_FIRST }, () => 0.99);
    scene.ready("east", 2, 2);
    scene.ready("north", 0, 2);
    goes(scene, scene.east);
    expect(counted(scene, "failover")).toBe(0);
    scene.ready("north", 2, 2);
    goes(scene, scene.east);
    expect(counted(scene, "failover")).toBe(0);
    scene.clock.advance(5_000);
    goes(scene, scene.east);
    expect(counted(scene, "failover")).toBe(1);
    // In force the return is a ramp that has just begun.
    expect(scene.guard.pick(scene.sources)).toBe(scene.east);
  });

  it("counts beside what the owner of a single destination has in force", () => {
    const owners = { ...BACKEND, name: "east/shop/theirs", cluster: "east" };
    const observed = { ...BACKEND, mode: "observe", failover: NORTH_FIRST } as const;
    const scene = guardedEntry({ backends: [owners, observed] });
    goes(scene, scene.east);
    expect(counted(scene, "failover")).toBe(1);
  });

  it("counts nothing where a limit refuses the request, nor where the policy is in force", () => {
    const limited = guardedEntry({
      backends: [{ ...BACKEND, mode: "observe", failover: NORTH_FIRST }],
      rateLimits: [LIMIT],
    });
    expect([goes(limited, limited.east), goes(limited, limited.east)]).toEqual(["east", "rate_limited 1"]);
    expect(counted(limited, "failover")).toBe(1);
    const enforced = observing({ failover: NORTH_FIRST, mode: "enforce" });
    goes(enforced, enforced.east);
    expect(counted(enforced, "failover")).toBe(0);
  });
});

describe("a rollout that only observes", () => {
  const observed = { ...CANARY, weight: 10, mode: "observe" } as const;
  const canaries = (scene: GuardedEntry) => scene.verdicts(CANARY.name, "canary", "observe");

  it("sends nobody to a version, and counts as many as would go to its canary", () => {
    const scene = guardedEntry({ rollouts: [observed] }, undefined, evenly(100));
    for (let count = 0; count < 100; count++) expect(goes(scene, scene.east)).toBe("east");
    expect(canaries(scene)).toBe(10);
    for (let count = 0; count < 100; count++) scene.guard.applyToConnection(scene.east, scene.sources);
    expect(canaries(scene)).toBe(20);
  });

  it("counts nothing that a route has chosen a version for, and a retry only once", () => {
    const scene = guardedEntry({ rollouts: [{ ...observed, weight: 100 }] });
    expect(goes(scene, { ...scene.east, version: "v1" })).toBe("east v1");
    expect(canaries(scene)).toBe(0);
    const failed = new FailedTries();
    failed.add(scene.east.destination, "a", "reset");
    expect(scene.guard.pickOther(scene.east, scene.sources, failed)).toBe(scene.north);
    expect(canaries(scene)).toBe(0);
  });

  it("leaves a session in force with the stable version, and asks the value that a client chose", () => {
    const byCookie = guardedEntry({ backends: [{ ...BACKEND, session: cookie }], rollouts: [observed] });
    const token = `${EAST}.${FIRST}.${(byCookie.clock.now() / 1_000).toString(36)}`;
    expect(goes(byCookie, byCookie.east, { cookie: `s=${token}` })).toBe(`east ${FIRST}`);
    expect(canaries(byCookie)).toBe(0);
    const byHeader = guardedEntry({ backends: [{ ...BACKEND, session: header }], rollouts: [observed] });
    for (let at = 0; at < 1_000; at++) goes(byHeader, byHeader.east, { "x-session": `u${at}` });
    expect(Math.abs(canaries(byHeader) - 100)).toBeLessThan(50);
  });
});

describe("a session that is only observed", () => {
  const sent = (scene: GuardedEntry) => ({
    cookie: `s=${EAST}.${FIRST}.${(scene.clock.now() / 1_000).toString(36)}`,
  });
  const both = (scene: GuardedEntry) => [counted(scene, "session_kept"), counted(scene, "session_begun")];

  it("by cookie counts requests whose session it would follow, and those that it would begin one for", () => {
    const scene = observing({ session: cookie });
    expect(goes(scene, scene.north, sent(scene))).toBe("north");
    expect(both(scene)).toEqual([1, 0]);
    expect([goes(scene, scene.north), goes(scene, scene.north, { cookie: "s=mine" })]).toEqual([
      "north",
      "north",
    ]);
    expect(both(scene)).toEqual([1, 2]);
  });

  it("by header counts a value that the client chose as kept, and gives none for an empty one", () => {
    const scene = observing({ session: header });
    expect(goes(scene, scene.east, { "x-session": "mine" })).toBe("east");
    expect(both(scene)).toEqual([1, 0]);
    goes(scene, scene.east, { "x-session": "" });
    expect(both(scene)).toEqual([1, 0]);
    goes(scene, scene.east);
    expect(both(scene)).toEqual([1, 1]);
  });

  it("is not kept at a cluster that failover, observed as well, sends nothing to, and needs no failover where it is", () => {
    const scene = observing({ session: cookie, failover: NORTH_FIRST });
    goes(scene, scene.north, sent(scene));
    expect([...both(scene), counted(scene, "failover")]).toEqual([0, 1, 0]);
    goes(scene, scene.east, { cookie: sent(scene).cookie.replace(EAST, opaqueName("north.test.mesh")) });
    expect([...both(scene), counted(scene, "failover")]).toEqual([1, 1, 0]);
  });
});
