import { describe, expect, it } from "vitest";
import { problem } from "../../federation/model/problem.ts";
import { err, ok } from "../../federation/model/result.ts";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { createMemoryLog } from "../../test/fakes/memory-log.ts";
import type { MemberClient, MemberRequest } from "./member-client.ts";
import { createReporter } from "./reporter.ts";

function scene() {
  const clock = createManualClock();
  const log = createMemoryLog();
  const sent: MemberRequest[] = [];
  let failure: "registry_unreachable" | "forbidden" | undefined;
  const client: MemberClient = {
    request: async (request) => {
      sent.push(request);
      return failure === undefined ? ok({ status: 204, text: "" }) : err(problem(failure, "no"));
    },
  };
  let revision = 1;
  const reporter = createReporter({
    client,
    cluster: "east",
    member: "gateway-1",
    clock,
    random: () => 0.5,
    log,
    report: () => ({
      role: "gateway",
      version: "0.1.0",
      appliedRevision: revision,
      state: "applied",
      listeners: [],
      tunnels: [],
    }),
    services: () => [],
  });
  return {
    clock,
    log,
    sent,
    reporter,
    fail: (name: typeof failure) => void (failure = name),
    apply: (next: number) => void (revision = next),
  };
}

describe("createReporter", () => {
  it("reports what is true when it sends, not what was true when something changed", async () => {
    const { reporter, apply, clock, sent } = scene();
    reporter.reportChanged();
    apply(7);
    await clock.advanceAsync(20);
    expect(sent).toMatchObject([
      { method: "PUT", path: "/v1/clusters/east/members/gateway-1", body: { appliedRevision: 7 } },
    ]);
    reporter.stop();
  });

  it("logs where a failure begins, changes and ends, not every attempt", async () => {
    const { reporter, fail, clock, log } = scene();
    fail("registry_unreachable");
    reporter.servicesChanged();
    await clock.advanceAsync(60_000);
    fail("forbidden");
    await clock.advanceAsync(60_000);
    fail(undefined);
    await clock.advanceAsync(60_000);
    expect(log.lines).toMatchObject([
      { event: "registry_write_failed", what: "services", code: "ISTH-6005" },
      { event: "registry_write_failed", what: "services", code: "ISTH-5002" },
      { event: "registry_write_recovered", what: "services" },
    ]);
    reporter.stop();
  });

  it("repeats the services only for a reason, the report every ten seconds", async () => {
    const { reporter, clock, sent } = scene();
    reporter.reportChanged();
    reporter.servicesChanged();
    await clock.advanceAsync(30_100);
    const paths = sent.map(({ path }) => path.split("/").at(-1));
    expect(paths.filter((last) => last === "services")).toHaveLength(1);
    expect(paths.filter((last) => last === "gateway-1")).toHaveLength(4);
    reporter.reconnected();
    await clock.advanceAsync(0);
    expect(sent).toHaveLength(7);
    reporter.stop();
    expect(clock.pending).toBe(0);
  });
});
