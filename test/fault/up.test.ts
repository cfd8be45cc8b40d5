import { describe, expect, test } from "vitest";
import { alive, childrenOf } from "../fakes/federation.ts";
import { echoOnce } from "../fakes/load.ts";
import { useScene } from "../fakes/scene.ts";
import { until } from "../fakes/until.ts";

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

  test("Ctrl-C ends every process", async () => {
    const children = childrenOf(scene.federation.upPid);
    expect(children.length).toBe(scene.federation.ready.processes.length);
    await scene.federation.stop();
    expect(children.filter(alive)).toEqual([]);
  });
});

describe("a federation whose isthmus up is killed", () => {
  const scene = useScene({ agents: false });

  test("leaves no process behind", async () => {
    const children = childrenOf(scene.federation.upPid);
    process.kill(scene.federation.upPid, "SIGKILL");
    await until("its processes are gone", 5_000, () => (children.some(alive) ? undefined : true));
  });
});
