import { afterEach, describe, expect, it } from "vitest";
import { addressOf } from "../fakes/http-wire.ts";
import { type Load, startLoad, tally } from "../fakes/load.ts";
import { type Mesh, type MeshOptions, startMesh } from "../fakes/mesh.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

const CONNECTIONS = 8;

let workload: Workload;
let mesh: Mesh;
let load: Load | undefined;
afterEach(async () => {
  await load?.stop();
  load = undefined;
  mesh.close();
  await workload.stop();
});

const startUnderLoad = async (options: Partial<MeshOptions> = {}): Promise<Load> => {
  workload = await startHttpWorkload();
  mesh = await startMesh({ ...options, endpoint: workload.address });
  load = startLoad(addressOf(mesh.address("ns/shop/sa/web")), CONNECTIONS);
  await served(load, 100);
  return load;
};

/** Resolves when so many more requests were answered. */
const served = (running: Load, more: number) => {
  const before = running.report().ok;
  return until(`${more} more requests`, 10_000, () =>
    running.report().ok >= before + more ? true : undefined,
  );
};

const expectNoFailure = async (running: Load) => {
  const { failed } = await running.stop();
  expect(tally(failed)).toEqual({});
};

describe("under load", () => {
  it("the SVIDs of all members rotate, several times, without one failed request", async () => {
    const running = await startUnderLoad();
    for (let turn = 0; turn < 3; turn++) {
      for (const [name, member] of mesh.members) {
        const [cluster = "", role] = name.split(" ");
        const before = new Set(member.log);
        member.credential.publish(mesh.federation.system(cluster, role === "agent" ? "agent" : "gateway"));
        await served(running, 50);
        if (name.startsWith("west"))
          await until(`${name} dialled anew`, 5_000, () =>
            member.log.find((line) => line["event"] === "tunnel_up" && !before.has(line)),
          );
      }
    }
    await expectNoFailure(running);
  });

  it("changes of rules that concern others cost no request", async () => {
    const running = await startUnderLoad();
    for (let turn = 0; turn < 10; turn++) {
      mesh.publish((snapshot) => ({ ...snapshot, issuedAt: `2026-01-02T00:00:0${turn}Z` }));
      await served(running, 20);
    }
    await expectNoFailure(running);
  });

  it.each(["east gateway", "west gateway"])(
    "the %s drains while a second one serves on, without one failed request",
    async (name) => {
      const running = await startUnderLoad({ twoGateways: true });
      const drained = mesh.member(name).proxy.drain();
      await served(running, 100);
      await drained;
      mesh.member(name).proxy.close();
      await served(running, 100);
      await expectNoFailure(running);
    },
  );

  it.each(["east gateway", "west gateway"])(
    "the %s dies while a second one serves on, and only requests under way are lost",
    async (name) => {
      const running = await startUnderLoad({ twoGateways: true });
      mesh.member(name).proxy.close();
      await served(running, 200);
      const { failed } = await running.stop();
      expect(failed.length).toBeLessThanOrEqual(CONNECTIONS);
    },
  );
});
