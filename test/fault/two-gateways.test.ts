import { describe, expect, test } from "vitest";
import { alive } from "../fakes/federation.ts";
import { tally } from "../fakes/load.ts";
import { CONNECTIONS, goesOn, useScene } from "../fakes/scene.ts";
import { until } from "../fakes/until.ts";

describe("when one of two gateways is lost", () => {
  const scene = useScene({ gateways: 2 });

  test.each([
    { cluster: "east", number: 1 },
    { cluster: "west", number: 2 },
  ])("SIGTERM of gateway $number of $cluster fails no request", async (place) => {
    const load = await scene.load();
    const before = scene.federation.signal({ role: "gateway", ...place }, "SIGTERM");
    await until("the old process is gone", 8_000, () => (alive(before) ? undefined : true));
    await goesOn(load, 2_000, CONNECTIONS);
    const { failed } = await load.stop();
    expect(tally(failed)).toEqual({});
  });

  test("kill -9 of one loses at most what was under way on it; the other serves at once", async () => {
    const { federation } = scene;
    const load = await scene.load();
    federation.pause();
    federation.signal({ role: "gateway", cluster: "east", number: 1 }, "SIGKILL");
    await scene.untilCall("200", 1_000);
    await goesOn(load, 2_000, CONNECTIONS);
    const { failed } = await load.stop();
    federation.resume();
    expect(failed.length, JSON.stringify(tally(failed))).toBeLessThanOrEqual(CONNECTIONS);
  });
});
