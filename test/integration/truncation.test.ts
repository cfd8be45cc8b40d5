import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import type { RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

const closed = (what: string, socket: RawSocket | undefined) =>
  until(`${what} is over`, 5_000, () => (socket?.closed === true ? true : undefined));

describe.each([{ agents: false }, { agents: true }])(
  "a TCP relay that ends, agents: $agents",
  ({ agents }) => {
    let scene: EdgeScene;
    let client: RawSocket;
    beforeAll(async () => {
      scene = await startEdge({ agents, protocol: "tcp" });
    });
    afterAll(() => scene.stop());
    beforeEach(async () => {
      scene.workload.clear();
      scene.workload.script = (connection, chunk) => connection.send(chunk);
      client = await scene.dial();
      client.send("hello");
      await client.receives("hello");
    });
    afterEach(() => client.destroy());

    const workloadSide = () => scene.workload.connections.at(-1);

    it("passes the workload's reset on as a reset, since an end would look complete", async () => {
      workloadSide()?.socket.resetAndDestroy();
      await closed("the client's connection", client);
      expect(client).toMatchObject({ reset: true, ended: false });
    });

    it("passes the workload's reset on after its half-close", async () => {
      workloadSide()?.socket.end();
      await client.isGone();
      workloadSide()?.socket.resetAndDestroy();
      await until("the client is told", 5_000, () => (client.send("more").closed ? true : undefined));
      expect(client.reset).toBe(true);
    });

    it("passes the client's reset on as a reset", async () => {
      client.socket.resetAndDestroy();
      await closed("the workload's connection", workloadSide());
      expect(workloadSide()).toMatchObject({ reset: true, ended: false });
    });

    it("passes the client's half-close on and goes on the other way", async () => {
      client.socket.end();
      await workloadSide()?.isGone();
      expect(workloadSide()).toMatchObject({ reset: false, ended: true });
      workloadSide()?.send("still here").socket.end();
      await client.receives("still here");
      await closed("the client's connection", client);
      expect(client).toMatchObject({ reset: false, ended: true });
    });

    it("passes the workload's half-close on and goes on the other way", async () => {
      scene.workload.script = () => {};
      workloadSide()?.socket.end();
      await client.isGone();
      expect(client).toMatchObject({ reset: false, ended: true });
      client.send("still here").socket.end();
      await workloadSide()?.receives("still here");
      await closed("the workload's connection", workloadSide());
      expect(workloadSide()).toMatchObject({ reset: false, ended: true });
    });
  },
);

describe.each(["east gateway", "west gateway", "east agent"])(
  "when the %s dies under a TCP relay",
  (member) => {
    it("resets both ends", async () => {
      const scene = await startEdge({
        agents: true,
        protocol: "tcp",
        script: (connection, chunk) => connection.send(chunk),
      });
      const client = (await scene.dial()).send("hello");
      await client.receives("hello");
      scene.mesh.member(member).proxy.close();
      await closed("the client's connection", client);
      await closed("the workload's connection", scene.workload.connections.at(-1));
      expect(client).toMatchObject({ reset: true, ended: false });
      expect(scene.workload.connections.at(-1)).toMatchObject({ reset: true, ended: false });
      await scene.stop();
    });
  },
);
