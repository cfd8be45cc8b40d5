import { describe, expect, it } from "vitest";
import { SessionConduct } from "./session-conduct.ts";

const repeat = (times: number, ask: () => unknown): readonly unknown[] =>
  Array.from({ length: times }, ask).filter((answer) => answer !== undefined);

describe("the conduct of a tunnel peer", () => {
  it("is good while it greets in time and says something every two seconds", () => {
    const conduct = new SessionConduct();
    expect(repeat(5, () => conduct.tick())).toEqual([]);
    conduct.control();
    const pinging = () => conduct.control() ?? conduct.tick() ?? conduct.tick();
    expect(repeat(10_000, pinging)).toEqual([]);
    expect(conduct.isOver).toBe(false);
  });

  it("is over when it does not greet within five seconds", () => {
    const conduct = new SessionConduct();
    expect(repeat(5, () => conduct.tick())).toEqual([]);
    expect(conduct.tick()).toMatchObject({
      name: "tunnel_abuse",
      detail: expect.stringContaining("greeting"),
    });
  });

  it("is over when it says nothing for half a minute", () => {
    const conduct = new SessionConduct();
    conduct.control();
    expect(repeat(30, () => conduct.tick())).toEqual([]);
    expect(conduct.tick()).toMatchObject({ name: "tunnel_abuse" });
  });

  it("is over when it floods with PING or SETTINGS, and stays good at a bearable rate", () => {
    const conduct = new SessionConduct();
    const bearable = () => repeat(20, () => conduct.control())[0] ?? conduct.tick();
    expect(repeat(1_000, bearable)).toEqual([]);
    expect(repeat(200, () => conduct.control())).toEqual([]);
    expect(conduct.control()).toMatchObject({ name: "tunnel_abuse" });
  });

  it("is over when it floods with streams that are refused, but not when a rule changes under load", () => {
    const conduct = new SessionConduct();
    conduct.control();
    expect(repeat(4_096, () => conduct.refusal())).toEqual([]);
    conduct.tick();
    expect(repeat(500, () => conduct.refusal())).toEqual([]);
    expect(conduct.refusal()).toMatchObject({ name: "tunnel_abuse" });
  });

  it("is reported once", () => {
    const conduct = new SessionConduct();
    expect(repeat(100_000, () => conduct.refusal())).toHaveLength(1);
    expect(repeat(1_000, () => conduct.control() ?? conduct.tick())).toEqual([]);
    expect(conduct.isOver).toBe(true);
  });
});
