import { afterEach, describe, expect, test } from "vitest";
import { alive, childrenOf, type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { describe as words, echoOnce, requestOnce } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startEchoWorkload, startHttpWorkload, type Workload } from "../fakes/workloads.ts";

describe("a federation on one machine", () => {
  const workloads: Workload[] = [];
  let federation: Federation | undefined;
  const start = async () => {
    workloads.push(await startHttpWorkload(), await startEchoWorkload());
    const [cart, echo] = workloads.map(({ address }) => address);
    federation = await startFederation(twoClusters({ cart: cart ?? "", echo: echo ?? "" }));
    return federation;
  };
  afterEach(async () => {
    await federation?.stop();
    for (const workload of workloads.splice(0)) await workload.stop();
  });

  test("carries HTTP and TCP for the permitted workload, refuses the other one, and Ctrl-C leaves nothing behind", async () => {
    const running = await start();
    expect(running.ready).toMatchObject({ kind: "LocalFederationReady", apiVersion: "isthmus.dev/v1alpha1" });
    expect(words(await requestOnce(running.address("web")))).toBe("200");
    expect(words(await requestOnce(running.address("batch")))).toBe("403 ISTH-2001");
    expect(await echoOnce(running.address("web", "echo.shop"), "ping")).toBe("ping");
    expect(await echoOnce(running.address("batch", "echo.shop"), "ping").catch(() => "")).toBe("");
    const children = childrenOf(running.upPid);
    expect(children.length).toBe(running.ready.processes.length);
    await running.stop();
    expect(children.filter(alive)).toEqual([]);
  });

  test("kill -9 of isthmus up itself ends every process it started", async () => {
    const running = await start();
    const children = childrenOf(running.upPid);
    process.kill(running.upPid, "SIGKILL");
    await until("its processes are gone", 5_000, () => (children.some(alive) ? undefined : true));
  });
});
