import { describe, expect, test } from "vitest";
import { alive } from "../fakes/federation.ts";
import { tally } from "../fakes/load.ts";
import { CONNECTIONS, goesOn, useScene } from "../fakes/scene.ts";
import { until } from "../fakes/until.ts";

describe("when the only gateway or agent ends", () => {
  const scene = useScene();

  test.each([
    { role: "agent", cluster: "west" },
    { role: "gateway", cluster: "west" },
    { role: "gateway", cluster: "east" },
    { role: "agent", cluster: "east" },
  ] as const)("SIGTERM of the $role of $cluster under load fails no request", async (member) => {
    const load = await scene.load();
    const before = scene.federation.signal(member, "SIGTERM");
    await until("the old process is gone", 8_000, () => (alive(before) ? undefined : true));
    await goesOn(load, 2_000, CONNECTIONS);
    const { failed } = await load.stop();
    // The old process accepts until its successor says that it serves, however long that takes.
    expect(tally(failed)).toEqual({});
    expect(scene.federation.pid(member)).not.toBe(before);
  });

  test("kill -9 of the agent beside the caller is over within 2 s of its return, at the same address", async () => {
    const near = { role: "agent", cluster: "west" } as const;
    const before = scene.federation.signal(near, "SIGKILL");
    await scene.federation.returned(near, before);
    await scene.untilCall("200", 2_000);
  });
});
