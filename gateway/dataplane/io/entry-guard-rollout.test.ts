import { describe, expect, it } from "vitest";
import {
  BACKEND,
  CANARY,
  goes,
  guardedEntry,
  type GuardedEntry,
  viewOf,
} from "../../../test/fakes/guarded-entry.ts";
import { opaqueName } from "../balance/session-token.ts";

const EAST = opaqueName("east.test.mesh");
const FIRST = opaqueName("10.0.0.1:80");

const cookie = { type: "Cookie", name: "s", permanent: false } as const;
const header = { type: "Header", name: "X-Session", permanent: false } as const;

describe("a session during a rollout", () => {
  const [stable, canary] = [opaqueName("v1"), opaqueName("v2")];
  const rolledOut = (session: typeof cookie | typeof header, weight: number) =>
    guardedEntry({ backends: [{ ...BACKEND, session }], rollouts: [{ ...CANARY, weight }] }, undefined, () =>
      weight === 0 ? 0 : 0.99,
    );
  const of = (scene: GuardedEntry, version?: string) => {
    const token = `${EAST}.${FIRST}.${(scene.clock.now() / 1_000).toString(36)}`;
    return { cookie: `s=${version === undefined ? token : `${token}.${version}`}` };
  };

  it("stays with its version while that gets anything, one of before the rollout with the stable one", () => {
    const scene = rolledOut(cookie, 20);
    expect(goes(scene, scene.east)).toBe("east v1");
    expect(goes(scene, scene.east, of(scene, canary))).toBe(`east ${FIRST} v2`);
    expect(goes(scene, scene.east, of(scene, stable))).toBe(`east ${FIRST} v1`);
    expect(goes(scene, scene.east, of(scene))).toBe(`east ${FIRST} v1`);
  });

  it("ends with its version", () => {
    const back = rolledOut(cookie, 0);
    expect(goes(back, back.east, of(back, canary))).toBe("east v1");
    const done = rolledOut(cookie, 100);
    expect(goes(done, done.east, of(done, stable))).toBe("east v2");
    expect(goes(done, done.east, of(done))).toBe("east v2");
  });

  it("is said to the client with its version, once", () => {
    const scene = rolledOut(cookie, 100);
    const target = { ...scene.east, version: "v2" };
    const said = (fields: Record<string, string>) =>
      scene.guard.sessionFields(target, viewOf(fields), FIRST).split("; ")[0];
    const value = said({});
    expect(value).toMatch(new RegExp(`^set-cookie: s=${EAST}\\.${FIRST}\\.[0-9a-z]+\\.${canary}$`));
    expect(said(of(scene, canary))).toBe("");
    expect(said(of(scene, stable))).toBe(value);
  });

  it("of a value that the client chose keeps to the weight, and only ever moves to the canary", () => {
    const values = Array.from({ length: 1_000 }, (_, at) => ({ "x-session": `u${at}` }));
    let before = new Set<number>();
    for (const weight of [0, 10, 50, 100]) {
      const scene = rolledOut(header, weight);
      const places = values.map((fields) => goes(scene, scene.east, fields));
      const moved = new Set(places.flatMap((place, at) => (place.endsWith(" v2") ? [at] : [])));
      expect(places.every((place) => /^east ~\d+ v[12]$/.test(place))).toBe(true);
      expect(Math.abs(moved.size - weight * 10)).toBeLessThan(50);
      expect([...before].every((at) => moved.has(at))).toBe(true);
      before = moved;
    }
  });
});
