import { describe, expect, test } from "vitest";
import { alive, childrenOf, startFederation, twoClusters } from "../fakes/federation.ts";
import { describeAnswer, echoOnce, requestOnce } from "../fakes/load.ts";
import { useScene } from "../fakes/scene.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload } from "../fakes/workloads.ts";

describe("a federation on one machine", () => {
  const scene = useScene();

  test("carries HTTP and TCP for the permitted workload and refuses the other one", async () => {
    const { federation } = scene;
    expect(federation.ready).toMatchObject({
      kind: "LocalFederationReady",
      apiVersion: "isthmus.dev/v1alpha1",
    });
    expect(await scene.call("web")).toBe("200");
    expect(await scene.call("batch")).toBe("403 ISTH-2001");
    expect(await echoOnce(federation.address("web", "echo.shop"), "ping")).toBe("ping");
    expect(await echoOnce(federation.address("batch", "echo.shop"), "ping").catch(() => "")).toBe("");
  });

  test("Ctrl-C ends every process it started", async () => {
    const children = childrenOf(scene.federation.upPid);
    expect(children.length).toBeGreaterThanOrEqual(scene.federation.ready.processes.length);
    await scene.federation.stop();
    expect(children.filter(alive)).toEqual([]);
  });
});

describe("a federation whose isthmus up is killed", () => {
  test("leaves no process behind, and starts again on its state with the same addresses", async () => {
    const cart = await startHttpWorkload();
    const documents = twoClusters({ cart: cart.address, agents: false });
    const first = await startFederation(documents);
    const children = childrenOf(first.upPid);
    process.kill(first.upPid, "SIGKILL");
    await until("its processes are gone", 5_000, () => (children.some(alive) ? undefined : true));

    const second = await startFederation(documents, first.directory);
    try {
      expect(second.ready.imports).toEqual(first.ready.imports);
      expect(describeAnswer(await requestOnce(second.address("web")))).toBe("200");
    } finally {
      await second.stop();
      await cart.stop();
    }
  }, 90_000);
});
