import { beforeAll, describe, expect, it } from "vitest";
import { atTurnEnd, holdTurn, turnClock } from "./turn.ts";

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** How many turns pass until a task runs that is added now; `eachTurn` runs in every one of them. */
async function turnsUntilRun(eachTurn: () => void): Promise<number> {
  let ran = false;
  atTurnEnd({ flush: () => void (ran = true) });
  for (let turns = 1; ; turns++) {
    eachTurn();
    await turn();
    if (ran || turns === 100) return turns;
  }
}

describe("what a turn gathers", () => {
  // Turns are the process's: the last connection of an earlier file may still hold one.
  beforeAll(async () => void (await turnsUntilRun(() => {})));

  it("is done when the turn ends", async () => {
    expect(await turnsUntilRun(() => {})).toBe(1);
  });

  it("waits for one turn more when a connection came", async () => {
    holdTurn();
    expect(await turnsUntilRun(() => {})).toBe(2);
  });

  it("waits for 32 turns at most, however many connections come", async () => {
    expect(await turnsUntilRun(holdTurn)).toBe(33);
    await turnsUntilRun(() => {});
  });

  it("is all done in the turn in which a task adds another", async () => {
    let inner = false;
    atTurnEnd({ flush: () => atTurnEnd({ flush: () => void (inner = true) }) });
    await turn();
    expect(inner).toBe(true);
  });
});

describe("the clock of a turn", () => {
  let readings = 0;
  const clock = turnClock(() => ++readings);
  const asked = (): readonly number[] => [clock(), clock()];

  beforeAll(async () => void (await turn()));

  it("is read once a turn", async () => {
    const [first, second] = asked();
    await turn();
    const [third, fourth] = asked();
    expect([second, third, fourth]).toEqual([first, (first ?? 0) + 1, (first ?? 0) + 1]);
  });

  it("is read anew by what a turn's end runs, and after it", async () => {
    const before = clock();
    let within: readonly number[] = [];
    atTurnEnd({ flush: () => void (within = asked()) });
    await turn();
    expect([...within, clock()]).toEqual([before + 1, before + 1, before + 2]);
  });

  it("does not stand still while nothing else happens", async () => {
    const before = clock();
    await turn();
    await turn();
    expect(clock()).toBe(before + 1);
  });

  it("goes on in a turn that is held", async () => {
    const before = clock();
    holdTurn();
    await turn();
    expect(clock()).toBe(before + 1);
    await turn();
  });
});
