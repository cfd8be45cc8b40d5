import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { answering, getRequest, okResponse, type RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

const SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
const ASK = getRequest("/chat", "Connection: Upgrade", "Upgrade: websocket");

describe.each([{ agents: false }, { agents: true }])(
  "an upgrade at the HTTP edge, agents: $agents",
  ({ agents }) => {
    let scene: EdgeScene;
    let client: RawSocket;
    beforeAll(async () => {
      scene = await startEdge({ agents });
    });
    afterAll(() => scene.stop());
    beforeEach(async () => {
      scene.workload.clear();
      scene.workload.script = (connection, chunk) =>
        chunk.toString().includes("pgrade") ? connection.send(SWITCH) : connection.send(chunk);
      client = await scene.dial();
    });
    afterEach(() => client.destroy());

    it("switches to WebSocket and passes every byte both ways", async () => {
      client.send(ASK);
      await client.receives("\r\n\r\n");
      expect(client.text).toMatch(/^HTTP\/1\.1 101 [^]*upgrade: websocket\r\n\r\n$/i);
      client.forget();
      const frames = Buffer.from(Array.from({ length: 4_096 }, (_, index) => index % 256));
      client.send(frames);
      await until("they come back", 5_000, () => (client.text.length >= frames.length ? true : undefined));
      expect(Buffer.from(client.text, "latin1").equals(frames)).toBe(true);
    });

    it("passes frames on that came in one packet with the request", async () => {
      scene.workload.script = (connection) => {
        if (connection.text.includes("frame")) connection.send("got it");
        else if (!connection.text.includes("frame")) connection.send(SWITCH);
      };
      client.send(`${ASK}frame`);
      await client.receives(/101 [^]*got it$/);
    });

    it("passes frames on that come in one packet with the switch", async () => {
      scene.workload.script = (connection) => connection.send(`${SWITCH}hello`);
      client.send(ASK);
      await client.receives(/\r\n\r\nhello$/);
    });

    it("becomes HTTP again when the workload refuses, and tunnels nothing", async () => {
      scene.workload.script = answering(okResponse("no chat"));
      client.send(ASK);
      await client.receives("no chat");
      client.forget();
      client.send("\x81\x05hello");
      await client.isGone();
      expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
      expect(scene.workload.seen()).not.toContain("hello");
    });

    it("tells the workload that the client had said all before the switch", async () => {
      scene.workload.script = (connection) => void setTimeout(() => connection.send(SWITCH), 50);
      client.send(`${ASK}frame`).socket.end();
      await client.receives("\r\n\r\n");
      const [workloadSide] = scene.workload.connections.slice(-1);
      await workloadSide?.receives(/\r\n\r\nframe$/);
      await workloadSide?.isGone();
      expect(workloadSide).toMatchObject({ ended: true, reset: false });
      workloadSide?.send("bye").socket.end();
      await client.receives(/bye$/);
    });

    it("ends in good order from either side", async () => {
      client.send(ASK);
      await client.receives("\r\n\r\n");
      client.socket.end();
      const [workloadSide] = scene.workload.connections.slice(-1);
      await workloadSide?.isGone();
      expect(workloadSide).toMatchObject({ ended: true, reset: false });
      workloadSide?.send("bye").socket.end();
      await client.receives(/bye$/);
      await client.isGone();
      expect(client.reset).toBe(false);
    });

    it("passes a reset on as a reset", async () => {
      client.send(ASK);
      await client.receives("\r\n\r\n");
      scene.workload.connections.at(-1)?.socket.resetAndDestroy();
      await until("the client's connection is over", 5_000, () => (client.closed ? true : undefined));
      expect(client).toMatchObject({ reset: true, ended: false });
    });

    it("is not granted when another protocol than the asked one comes back", async () => {
      scene.workload.script = (connection) => connection.send(SWITCH.replace("websocket", "h2c"));
      client.send(ASK);
      await client.receives("HTTP/1.1 502 ");
      expect(client.text).toContain("isthmus-code: ISTH-3011");
    });

    it("is not asked for on behalf of a client that wants h2c", async () => {
      scene.workload.script = answering(okResponse());
      client.send(
        getRequest("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
      );
      await client.receives("\r\n\r\nok");
      expect(scene.workload.seen()).not.toMatch(/h2c|http2/i);
    });
  },
);
