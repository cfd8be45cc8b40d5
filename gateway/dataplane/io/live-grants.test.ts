import { describe, expect, it } from "vitest";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { LiveGrants } from "./live-grants.ts";

const DENIED = problem("export_denied", "no more");

/** A grant that the rules allow until `denied` is set. */
const grant = () => {
  const made = {
    bagSlot: -1,
    denied: false,
    cuts: [] as Problem[],
    recheck: () => (made.denied ? DENIED : undefined),
    cut: (reason: Problem) => void made.cuts.push(reason),
  };
  return made;
};

describe("what runs under a permission", () => {
  it("goes on while the rules allow it", () => {
    const grants = new LiveGrants();
    const running = grant();
    grants.add(running);
    grants.recheckAll();
    expect([running.cuts, grants.size]).toEqual([[], 1]);
  });

  it("is cut once, with the reason, when they no longer do", () => {
    const grants = new LiveGrants();
    const [kept, lost] = [grant(), grant()];
    grants.add(kept);
    grants.add(lost);
    lost.denied = true;
    grants.recheckAll();
    grants.recheckAll();
    expect(lost.cuts).toEqual([DENIED]);
    expect([kept.cuts, grants.size]).toEqual([[], 1]);
  });

  it("is left alone after it ended", () => {
    const grants = new LiveGrants();
    const over = grant();
    grants.add(over);
    grants.delete(over);
    over.denied = true;
    grants.recheckAll();
    expect(over.cuts).toEqual([]);
  });

  it("may end others while it is cut", () => {
    const grants = new LiveGrants();
    const [first, second] = [grant(), grant()];
    grants.add({ ...first, recheck: () => DENIED, cut: () => grants.delete(second) });
    grants.add(second);
    grants.recheckAll();
    expect(grants.size).toBe(0);
  });
});
