import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { type Mesh, startMesh } from "../fakes/mesh.ts";

/** A client and a server that nobody here wrote, through both proxies of both clusters. */
describe.each([{ agents: false }, { agents: true }])("WebSocket (ws), agents: $agents", ({ agents }) => {
  let http: Server;
  let sockets: WebSocketServer;
  let mesh: Mesh;
  beforeAll(async () => {
    http = createServer((_request, response) => void response.end("plain"));
    sockets = new WebSocketServer({
      server: http,
      handleProtocols: () => "chat",
      maxPayload: 8 * 1024 * 1024,
    });
    sockets.on("connection", (socket) => {
      socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    });
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const bound = http.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    mesh = await startMesh({ agents, endpoint: `127.0.0.1:${port}` });
  });
  afterAll(() => {
    mesh.close();
    sockets.close();
    http.close();
    http.closeAllConnections();
  });

  const open = async (): Promise<WebSocket> => {
    const socket = new WebSocket(`ws://${mesh.address("ns/shop/sa/web")}/chat`, "chat", {
      perMessageDeflate: false,
    });
    await once(socket, "open");
    return socket;
  };

  it("talks both ways, text and binary, small and large, fragmented", async () => {
    const socket = await open();
    expect(socket.protocol).toBe("chat");
    for (const message of ["hello", "", "ü".repeat(70_000)]) {
      socket.send(message);
      const [data] = (await once(socket, "message")) as [Buffer];
      expect(data.toString()).toBe(message);
    }
    const large = Buffer.alloc(3 * 1024 * 1024, 7);
    socket.send(large.subarray(0, 1_000_000), { fin: false });
    socket.send(large.subarray(1_000_000), { fin: true });
    const [data] = (await once(socket, "message")) as [Buffer];
    expect(data.equals(large)).toBe(true);
    socket.terminate();
  });

  it("answers pings and closes with code and reason", async () => {
    const socket = await open();
    socket.ping("are you there");
    const [pong] = (await once(socket, "pong")) as [Buffer];
    expect(pong.toString()).toBe("are you there");
    socket.close(4321, "enough");
    const [code, reason] = (await once(socket, "close")) as [number, Buffer];
    expect([code, reason.toString()]).toEqual([4321, "enough"]);
  });

  it("is one of many at a time", async () => {
    const all = await Promise.all(Array.from({ length: 50 }, open));
    const answers = all.map((socket) => once(socket, "message"));
    all.forEach((socket, index) => socket.send(String(index)));
    const texts = (await Promise.all(answers)).map(([data]) => String(data));
    expect(texts).toEqual(all.map((_, index) => String(index)));
    for (const socket of all) socket.terminate();
  });
});
