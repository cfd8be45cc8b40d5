import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

describe.each([{ agents: true }, { agents: false }])(
  "the path of an HTTP request, agents: $agents",
  ({ agents }) => {
    let workload: Workload;
    let mesh: Mesh;
    beforeAll(async () => {
      workload = await startHttpWorkload();
      mesh = await startMesh({ agents, endpoint: workload.address });
    });
    afterAll(async () => {
      mesh.close();
      await workload.stop();
    });

    it("carries the permitted workload's request to the other cluster", async () => {
      const response = await fetch(`http://${mesh.address("ns/shop/sa/web")}/hello`);
      expect(response.status).toBe(200);
      expect(await response.text()).toHaveLength(100);
    });

    it("refuses another workload with a code and a reason", async () => {
      const response = await fetch(`http://${mesh.address("ns/shop/sa/batch")}/hello`);
      expect(response.status).toBe(403);
      expect(await response.json()).toMatchObject({ code: "ISTH-2001" });
    });
  },
);
