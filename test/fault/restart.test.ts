import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alive, type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { startLoad, tally } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

describe("when the only gateway or agent is restarted with SIGTERM", () => {
  let cart: Workload;
  let federation: Federation;
  beforeAll(async () => {
    cart = await startHttpWorkload();
    federation = await startFederation(twoClusters({ cart: cart.address }));
  });
  afterAll(async () => {
    await federation.stop();
    await cart.stop();
  });

  test.each([
    { role: "agent", cluster: "west" },
    { role: "gateway", cluster: "west" },
    { role: "gateway", cluster: "east" },
    { role: "agent", cluster: "east" },
  ] as const)("the $role of $cluster is back within 2 s and loses no request under load", async (member) => {
    const load = startLoad(federation.address("web"), 16);
    await until("the load runs", 5_000, () => (load.report().ok > 500 ? true : undefined));
    const before = federation.signal(member, "SIGTERM");
    await until("the old process is gone", 8_000, () => (alive(before) ? undefined : true));
    const seen = load.report().ok;
    await until("the load goes on", 2_000, () => (load.report().ok > seen + 500 ? true : undefined));
    const { failed } = await load.stop();
    expect(tally(failed)).toEqual({});
    expect(federation.pid(member)).not.toBe(before);
  });
});
