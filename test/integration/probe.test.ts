import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";

describe.each([{ agents: false }, { agents: true }])("a probe, agents: $agents", ({ agents }) => {
  let scene: EdgeScene;
  beforeAll(async () => {
    scene = await startEdge({ agents });
  });
  afterAll(() => scene.stop());

  const probe = (workload: string, service = "cart.shop", port = 80) =>
    scene.mesh.member(agents ? "west agent" : "west gateway").proxy.probe({ workload, service, port });

  it("goes up to the workload by the caller's own way, and says nothing to it", async () => {
    const outcome = await probe("ns/shop/sa/web");
    expect(outcome).toMatchObject({ ok: true, caller: "spiffe://west.test.mesh/ns/shop/sa/web" });
    expect(scene.workload.connections).toHaveLength(1);
    await scene.workload.connections[0]?.isGone();
    expect(scene.workload.seen()).toBe("");
  });

  it.each([
    ["a workload that may not call", ["ns/shop/sa/batch"], "ISTH-2001"],
    ["a workload that is not here", ["ns/shop/sa/other"], "ISTH-2004"],
    ["a service that is not imported", ["ns/shop/sa/web", "other.shop"], "ISTH-2004"],
    ["a port that is not there", ["ns/shop/sa/web", "cart.shop", 81], "ISTH-2004"],
  ] as const)("names the code for %s", async (_what, [workload, service, port], code) => {
    expect(await probe(workload, service, port)).toMatchObject({ ok: false, code });
  });

  it("names the code when the workload does not listen, as a request would", async () => {
    await scene.workload.stop();
    expect(await probe("ns/shop/sa/web")).toMatchObject({ ok: false, code: "ISTH-3004" });
    const response = await fetch(`http://${scene.mesh.address("ns/shop/sa/web")}/`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "ISTH-3004" });
  });
});
