import { describe, expect, it } from "vitest";
import { SessionConduct } from "./session-conduct.ts";

const repeat = (times: number, ask: () => unknown): readonly unknown[] =>
  Array.from({ length: times }, ask).filter((answer) => answer !== undefined);

describe("the conduct of a tunnel peer", () => {
  it("is good while it greets in time and says something every two seconds", () => {
    const conduct = new SessionConduct("tunnel");
    expect(repeat(5, () => conduct.tick())).toEqual([]);
    conduct.notice("control");
    const pinging = () => conduct.notice("control") ?? conduct.tick() ?? conduct.tick();
    expect(repeat(10_000, pinging)).toEqual([]);
  });

  it("is over when it does not greet within five seconds", () => {
    const conduct = new SessionConduct("tunnel");
    expect(repeat(5, () => conduct.tick())).toEqual([]);
    expect(conduct.tick()).toMatchObject({
      name: "tunnel_abuse",
      detail: expect.stringContaining("greeting"),
    });
  });

  it("is over when it says nothing for half a minute", () => {
    const conduct = new SessionConduct("tunnel");
    conduct.notice("control");
    expect(repeat(30, () => conduct.tick())).toEqual([]);
    expect(conduct.tick()).toMatchObject({ name: "tunnel_abuse" });
  });

  it("of a workload may be silent for ever", () => {
    const conduct = new SessionConduct("workload");
    conduct.notice("control");
    expect(repeat(1_000, () => conduct.tick())).toEqual([]);
    expect(repeat(100_000, () => conduct.notice("peer-reset"))).toMatchObject([{ name: "http2_abuse" }]);
  });

  it("is good while it measures the way of what is sent to it, which says something, too", () => {
    const conduct = new SessionConduct("tunnel");
    conduct.notice("control");
    const measuring = () => conduct.notice("measuring-ping") ?? conduct.tick();
    expect(repeat(10_000, measuring)).toEqual([]);
    expect(repeat(10_000, () => conduct.notice("measuring-ping"))).toEqual([]);
  });

  it("is over when it floods with PING or SETTINGS, and stays good at a bearable rate", () => {
    const conduct = new SessionConduct("tunnel");
    const bearable = () => repeat(20, () => conduct.notice("control"))[0] ?? conduct.tick();
    expect(repeat(1_000, bearable)).toEqual([]);
    expect(repeat(200, () => conduct.notice("control"))).toEqual([]);
    expect(conduct.notice("control")).toMatchObject({ name: "tunnel_abuse" });
  });

  it("is over when it floods with streams that are refused, but not when a rule changes under load", () => {
    const conduct = new SessionConduct("tunnel");
    conduct.notice("control");
    expect(repeat(4_096, () => conduct.notice("stream-error"))).toEqual([]);
    conduct.tick();
    expect(repeat(500, () => conduct.notice("stream-error"))).toEqual([]);
    expect(conduct.notice("stream-error")).toMatchObject({ name: "tunnel_abuse" });
  });

  it.each([
    ["resets", "peer-reset", 4_096],
    ["frames to no purpose", "idle-frame", 8_192],
  ] as const)("is over when it floods with %s", (_what, event, burst) => {
    const conduct = new SessionConduct("tunnel");
    conduct.notice("control");
    expect(repeat(burst, () => conduct.notice(event))).toEqual([]);
    expect(conduct.notice(event)).toMatchObject({ name: "tunnel_abuse" });
  });

  it("of a workload may reset as much as it lets finish, and some more", () => {
    const conduct = new SessionConduct("workload");
    conduct.notice("control");
    const hedging = () => (conduct.allowReset(), conduct.notice("peer-reset"));
    expect(repeat(100_000, hedging)).toEqual([]);
    expect(repeat(499, () => conduct.notice("peer-reset"))).toEqual([]);
    expect(conduct.notice("peer-reset")).toMatchObject({ name: "http2_abuse" });
  });

  it("is reported once", () => {
    const conduct = new SessionConduct("tunnel");
    expect(repeat(100_000, () => conduct.notice("stream-error"))).toHaveLength(1);
    expect(repeat(1_000, () => conduct.notice("control") ?? conduct.tick())).toEqual([]);
    expect(conduct.end()).toBe(false);
  });
});
