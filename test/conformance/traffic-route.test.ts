import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { trafficRouteSpec } from "../../federation/model/wire/traffic-route.ts";
import { startTrafficWorld, type TrafficWorld } from "../fakes/traffic-world.ts";
import { fieldsOf } from "./fields-of.ts";
import { BACKEND_ROWS } from "./rows/backends.ts";
import { FAILURE_ROWS } from "./rows/failures.ts";
import { FILTER_ROWS } from "./rows/filters.ts";
import { MATCH_ROWS } from "./rows/matches.ts";

const TABLE = { MATCH_ROWS, FILTER_ROWS, BACKEND_ROWS, FAILURE_ROWS };

describe.each(["HTTP/1.1", "HTTP/2"] as const)("every field of a TrafficRoute, by %s", (protocol) => {
  let world: TrafficWorld;
  beforeAll(async () => {
    world = await startTrafficWorld({ protocol });
  }, 30_000);
  afterAll(() => world.stop());
  beforeEach(() => {
    for (const backend of Object.values(world.backends)) backend.reset();
    world.route();
  });

  for (const rows of Object.values(TABLE)) {
    for (const { fields, does, test } of rows) it(`${does}: ${fields.join(", ")}`, () => test(world));
  }
});

describe("every field of a TrafficRoute", () => {
  it("has a row", () => {
    const covered = new Set(Object.values(TABLE).flatMap((rows) => rows.flatMap(({ fields }) => fields)));
    expect([...covered].sort()).toEqual(fieldsOf(trafficRouteSpec));
  });
});
