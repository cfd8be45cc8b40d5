import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { answering, okResponse, type RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

const REQUEST = "GET / HTTP/1.1\r\nHost: cart.shop\r\n\r\n";
const isOver = (socket: RawSocket | undefined) =>
  until("the connection is over", 5_000, () => (socket?.closed === true ? true : undefined));

describe.each([{ agents: false }, { agents: true }])(
  "a port whose protocol nobody declared, agents: $agents",
  ({ agents }) => {
    let scene: EdgeScene;
    beforeAll(async () => {
      scene = await startEdge({ agents, protocol: "detect" });
    });
    afterAll(() => scene.stop());
    beforeEach(() => {
      scene.workload.clear();
      scene.workload.onConnection = () => {};
      scene.workload.onEnd = () => {};
    });
    let client: RawSocket;
    afterEach(() => client.destroy());

    const entry = () => scene.mesh.member(agents ? "west agent" : "west gateway").proxy;
    const protocol = () =>
      entry()
        .listeners()
        .find(({ workload }) => workload === "ns/shop/sa/web")?.protocol;
    const requestsCounted = () =>
      Number(/isthmus_requests_total\{[^}]*web[^}]*"2xx"[^}]*\} (\d+)/.exec(entry().metrics())?.[1] ?? 0);

    it("serves an HTTP/1.1 request as one, on a connection that is kept for the next", async () => {
      scene.workload.script = answering(okResponse());
      const before = requestsCounted();
      client = await scene.dial();
      for (let sent = 0; sent < 2; sent++) {
        await client.send(REQUEST).receives(/200 OK[^]*\r\n\r\n/);
        client.forget();
      }
      expect(requestsCounted() - before).toBe(2);
      expect(protocol()?.why).toMatch(/^not declared; seen: .*HTTP\/1\.1 \(a request line\)/);
    });

    it("reads a request that arrives byte by byte", async () => {
      scene.workload.script = answering(okResponse());
      client = await scene.dial();
      for (const byte of REQUEST) {
        client.send(byte);
        await new Promise(setImmediate);
      }
      await client.receives("200 OK");
    });

    it("lets the server speak first when the client is silent", async () => {
      scene.workload.onConnection = (connection) => connection.send("220 mail.example ready\r\n");
      scene.workload.script = (connection, chunk) => connection.send(`heard ${chunk.toString("latin1")}`);
      client = await scene.dial();
      await client.receives("220 mail.example ready");
      await client.send("EHLO me\r\n").receives("heard EHLO me");
      expect(protocol()?.why).toContain("the server spoke first");
    });

    it("serves HTTP to a client that connects long before its first request", async () => {
      scene.workload.script = answering(okResponse());
      const before = requestsCounted();
      const silent = new Promise<RawSocket>((resolve) => {
        scene.workload.onConnection = resolve;
      });
      client = await scene.dial();
      const abandoned = await silent;
      await client.send(REQUEST).receives("200 OK");
      expect(requestsCounted() - before).toBe(1);
      await isOver(abandoned);
    });

    it("passes the bytes of any other protocol on untouched, ends included", async () => {
      scene.workload.script = (connection, chunk) => connection.send(chunk);
      client = await scene.dial();
      await client.send("*1\r\n$4\r\nPING\r\n").receives("*1\r\n$4\r\nPING\r\n");
      client.socket.end();
      await until("the end arrived", 5_000, () => scene.workload.connections.at(-1)?.ended || undefined);
      scene.workload.connections.at(-1)?.send("bye").socket.end();
      await client.receives("bye");
      await isOver(client);
      expect(client).toMatchObject({ ended: true, reset: false });
      expect(protocol()?.why).toContain("TCP (first bytes of no HTTP)");
    });

    it("passes the end of a client that says nothing at all, and then the server's answer", async () => {
      scene.workload.onEnd = (connection) => void connection.send("the time is now").socket.end();
      client = await scene.dial();
      client.socket.end();
      await client.receives("the time is now");
      await isOver(client);
      expect(client.reset).toBe(false);
    });

    it("tells a client that may not call why, once it is known to speak HTTP, and cuts it otherwise", async () => {
      client = await scene.dial("ns/shop/sa/batch");
      await client.send(REQUEST).receives(/403[^]*ISTH-2001/);
      client.destroy();
      client = await scene.dial("ns/shop/sa/batch");
      await client.send("PING\r\n").isGone();
      expect(client.reset).toBe(true);
    });
  },
);
