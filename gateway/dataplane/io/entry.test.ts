import { describe, expect, it } from "vitest";
import { entryEnvironment } from "../../../test/fakes/entry-environment.ts";
import { LIMIT, viewOf } from "../../../test/fakes/guarded-entry.ts";
import { CART, id, westTables } from "../../../test/fakes/rules.ts";
import { createWatch } from "../lifecycle/watch.ts";
import type { RouteTables } from "../routing/tables.ts";
import { Entry } from "./entry.ts";

describe("an entry", () => {
  const tables = createWatch<RouteTables | undefined>(westTables());
  const entry = new Entry(
    { caller: id("west/shop/web"), service: CART, port: 80 },
    entryEnvironment({ tables }),
  );
  const decides = (): string => entry.decide(viewOf()).kind;

  it("decides by the tables of the moment, however many have come since it was last asked", () => {
    expect(decides()).toBe("forward");
    tables.publish(westTables());
    tables.publish(westTables({ imports: [] }));
    expect(decides()).toBe("refuse");
    tables.publish(undefined);
    tables.publish(westTables());
    expect(decides()).toBe("forward");
  });

  it("keeps what it remembers of targets while no rule is about its service", () => {
    const { guard } = entry;
    tables.publish(westTables());
    expect(entry.guard).toBe(guard);
  });

  it("has a rule in force, and out of it, before it is asked", () => {
    const rules = { rateLimits: [LIMIT], backends: [], rollouts: [] };
    tables.publish(westTables({ rules }));
    expect(entry.guard.hasRules).toBe(true);
    expect([decides(), decides()]).toEqual(["forward", "refuse"]);
    tables.publish(westTables());
    expect(entry.guard.hasRules).toBe(false);
    expect([decides(), decides()]).toEqual(["forward", "forward"]);
  });

  it("tells those who have something open of each change", () => {
    let told = 0;
    const stop = entry.onDecision(() => (told += 1));
    tables.publish(westTables());
    stop();
    tables.publish(westTables());
    expect(told).toBe(1);
  });
});
