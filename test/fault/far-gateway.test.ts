import { describe, expect, test } from "vitest";
import { echoOnce, requestOnce, tally } from "../fakes/load.ts";
import { CONNECTIONS, useScene } from "../fakes/scene.ts";
import { until } from "../fakes/until.ts";

const FAR = { role: "gateway", cluster: "east" } as const;

describe("when the only gateway of the other cluster is lost", () => {
  const scene = useScene();

  test("callers get a 503 with its code at once, and service within 2 s of its return", async () => {
    const { federation } = scene;
    const load = await scene.load();
    federation.pause();
    const before = federation.signal(FAR, "SIGKILL");
    await scene.untilCall("503 ISTH-3003", 1_000);
    const asked = performance.now();
    expect(await scene.call()).toBe("503 ISTH-3003");
    expect(performance.now() - asked).toBeLessThan(1_000);

    federation.resume();
    await federation.returned(FAR, before);
    await scene.untilCall("200", 2_000);
    const { failed } = await load.stop();
    const unexplained = failed.filter(({ what }) => !/^503 ISTH-300[35]$/.test(what));
    expect(
      unexplained.length,
      `only what was under way may break: ${JSON.stringify(tally(failed))}`,
    ).toBeLessThanOrEqual(CONNECTIONS);
  });

  test("the 503 is a problem document that names the code, the detail and the fix", async () => {
    const { federation } = scene;
    federation.pause();
    const before = federation.signal(FAR, "SIGKILL");
    await scene.untilCall("503 ISTH-3003", 1_000);
    const answer = await requestOnce(federation.address("web"));
    federation.resume();
    await federation.returned(FAR, before);
    if (typeof answer === "string") throw new Error(answer);
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    expect(JSON.parse(answer.body)).toMatchObject({
      status: 503,
      code: "ISTH-3003",
      detail: expect.any(String),
      fix: expect.stringContaining("isthmus check"),
    });
  });

  test("a TCP service works again within 2 s of its return", async () => {
    const { federation } = scene;
    const echo = federation.address("web", "echo.shop");
    const before = federation.signal(FAR, "SIGKILL");
    await federation.returned(FAR, before);
    await until("an echo", 2_000, async () =>
      (await echoOnce(echo, "hello").catch(() => "")) === "hello" ? true : undefined,
    );
  });
});
