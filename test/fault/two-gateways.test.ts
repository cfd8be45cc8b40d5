import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { alive, type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { describe as words, requestOnce, startLoad, tally } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

const CONNECTIONS = 16;

describe("when one of two gateways is lost", () => {
  let cart: Workload;
  let federation: Federation;
  beforeAll(async () => {
    cart = await startHttpWorkload();
    federation = await startFederation(twoClusters({ cart: cart.address, gateways: 2 }));
  });
  afterAll(async () => {
    await federation.stop();
    await cart.stop();
  });

  const underLoad = async (disturb: () => Promise<void>) => {
    const load = startLoad(federation.address("web"), CONNECTIONS);
    await until("the load runs", 5_000, () => (load.report().ok > 500 ? true : undefined));
    await disturb();
    const seen = load.report().ok;
    await until("the load goes on", 2_000, () => (load.report().ok > seen + 500 ? true : undefined));
    return load.stop();
  };

  test.each([
    { cluster: "east", number: 1 },
    { cluster: "west", number: 2 },
  ])("SIGTERM of gateway $number of $cluster fails no request", async (place) => {
    const { failed } = await underLoad(async () => {
      const before = federation.signal({ role: "gateway", ...place }, "SIGTERM");
      await until("the old process is gone", 8_000, () => (alive(before) ? undefined : true));
    });
    expect(tally(failed)).toEqual({});
  });

  test("kill -9 of one loses at most what was under way on it; the other serves at once", async () => {
    federation.pause();
    const { failed } = await underLoad(async () => {
      federation.signal({ role: "gateway", cluster: "east", number: 1 }, "SIGKILL");
      await until("a call through the other", 1_000, async () =>
        words(await requestOnce(federation.address("web"))) === "200" ? true : undefined,
      );
    }).finally(() => federation.resume());
    expect(failed.length).toBeLessThanOrEqual(CONNECTIONS);
  });
});
