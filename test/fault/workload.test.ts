import { describe, expect, test } from "vitest";
import { useScene } from "../fakes/scene.ts";

describe("when the workload itself is lost", () => {
  const scene = useScene({ agents: false });

  test("the caller is told that it is the workload, and is served as soon as that is back", async () => {
    expect(await scene.call()).toBe("200");
    await scene.cart.stop();
    expect(await scene.call()).toBe("503 ISTH-3004");
    await scene.cart.start();
    await scene.untilCall("200", 2_000);
  });

  test("a forbidden caller learns nothing of it: the refusal stays the same", async () => {
    await scene.cart.stop();
    expect(await scene.call("batch")).toBe("403 ISTH-2001");
    await scene.cart.start();
  });
});
