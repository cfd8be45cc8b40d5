import { beforeEach, describe, expect, it } from "vitest";
import { problem } from "../../../federation/model/problem.ts";
import { createMemoryLog, type MemoryLog } from "../../../test/fakes/memory-log.ts";
import { EventLog } from "./event-log.ts";

describe("the event log", () => {
  let now: number;
  let log: MemoryLog;
  let events: EventLog;
  beforeEach(() => {
    now = 1_000;
    log = createMemoryLog();
    events = new EventLog(log, () => now);
  });

  const refuse = (times: number, event = "refused") => {
    for (let count = 0; count < times; count++)
      events.refusal(event, problem("export_denied", "no"), { caller: "spiffe://a/b" });
  };

  it("writes a refusal with its code, name, detail and whom it concerns", () => {
    refuse(1);
    expect(log.lines).toMatchObject([
      {
        level: "warn",
        event: "refused",
        code: "ISTH-2001",
        problem: "export_denied",
        detail: "no",
        caller: "spiffe://a/b",
      },
    ]);
    expect(log.lines[0]).not.toHaveProperty("suppressed");
  });

  it("writes an access at level info", () => {
    events.access("tunnel_opened", { port: 80 });
    expect(log.lines).toMatchObject([{ level: "info", event: "tunnel_opened", port: 80 }]);
  });

  it("writes at most fifty lines of one event a second and counts the rest in the next one", () => {
    refuse(80);
    expect(log.of("refused")).toHaveLength(50);
    now += 999;
    refuse(1);
    expect(log.of("refused")).toHaveLength(50);
    now += 1;
    refuse(2);
    expect(log.of("refused").slice(50)).toMatchObject([{ suppressed: 31 }, {}]);
    expect(log.of("refused")[51]).not.toHaveProperty("suppressed");
  });

  it("keeps the lines of one event when another floods", () => {
    refuse(1_000);
    refuse(1, "peer_refused");
    events.access("tunnel_opened", {});
    expect(log.of("peer_refused")).toHaveLength(1);
    expect(log.of("tunnel_opened")).toHaveLength(1);
  });

  it("keeps the lines of one kind of an event when another kind of it floods", () => {
    for (let count = 0; count < 1_000; count++) events.access("rule_observed", { verdict: "a" }, "kind a");
    events.access("rule_observed", { verdict: "b" }, "kind b");
    expect(log.of("rule_observed")).toHaveLength(51);
  });
});
