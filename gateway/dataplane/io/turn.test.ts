import { beforeAll, describe, expect, it } from "vitest";
import { atTurnEnd, holdTurn } from "./turn.ts";

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
