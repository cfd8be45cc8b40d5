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
  ] as const)(
    "SIGTERM of the $role of $cluster under load loses nothing that was under way and is over within 2 s",
    async (member) => {
      const load = await scene.load();
      const before = scene.federation.signal(member, "SIGTERM");
      await until("the old process is gone", 8_000, () => (alive(before) ? undefined : true));
      await goesOn(load, 2_000, CONNECTIONS);
      const { failed } = await load.stop();
      // Its successor binds the same port in time, unless the machine is too busy to start a process within the second for
      // which the old one goes on accepting: then callers are refused until it is there.
      const kinds = Object.keys(tally(failed)).filter((what) => what !== "refused");
      expect(kinds).toEqual([]);
      expect((failed.at(-1)?.at ?? 0) - (failed.at(0)?.at ?? 0)).toBeLessThan(2_000);
      expect(scene.federation.pid(member)).not.toBe(before);
    },
  );

  test("kill -9 of the agent beside the caller is over within 2 s of its return, at the same address", async () => {
    const near = { role: "agent", cluster: "west" } as const;
    const before = scene.federation.signal(near, "SIGKILL");
    await scene.federation.returned(near, before);
    await scene.untilCall("200", 2_000);
  });
});
