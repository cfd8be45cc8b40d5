import { once } from "node:events";
import http2 from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import * as grpc from "@grpc/grpc-js";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { ErrorCode } from "../../gateway/dataplane/http2/error-code.ts";
import { FrameType } from "../../gateway/dataplane/http2/frame.ts";
import { ECHO, echoClient } from "../fakes/grpc-echo.ts";
import { startEdge } from "../fakes/edge-scene.ts";
import { frame } from "../fakes/h2-frames.ts";
import { awaitHttp2Request, headersFrame, OK, uint32 } from "../fakes/http2-sides.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { getRequest, type RawSocket } from "../fakes/raw-socket.ts";
import { withPathPolicy } from "../fakes/rules.ts";

/** An AuthorizationPolicy that names a path has the requests read by the last hop; what it lets in must come through as if it had not. */
describe.each([{ judged: false }, { judged: true }])(
  "HTTP/2, requests read where they arrive: $judged",
  ({ judged }) => {
    let mesh: Mesh;
    let server: http2.Http2Server;
    const sockets: Socket[] = [];
    let respond: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void;
    beforeAll(async () => {
      server = http2.createServer();
      server.on("connection", (socket) => sockets.push(socket));
      server.on("session", (session) => session.on("error", () => {}));
      server.on("stream", (stream, headers) => {
        stream.on("error", () => {});
        respond(stream, headers);
      });
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      const { port } = server.address() as AddressInfo;
      const change = judged ? withPathPolicy : (snapshot: Snapshot) => snapshot;
      mesh = await startMesh({ agents: true, endpoint: `127.0.0.1:${port}`, change });
    });
    afterAll(() => {
      mesh.close();
      server.close();
    });
    beforeEach(() => {
      respond = (stream) => stream.respond({ ":status": 200 }, { endStream: true });
    });

    const address = () => mesh.address("ns/shop/sa/web");

    async function ask(fields: http2.OutgoingHttpHeaders) {
      const session = http2.connect(`http://${address()}`);
      session.on("error", () => {});
      const stream = session.request({ ":path": "/", ...fields });
      stream.on("error", () => {});
      const interim: (number | undefined)[] = [];
      let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
      stream.on("headers", (received) => interim.push(received[":status"]));
      stream.once("response", (received) => (head = received));
      let text = "";
      stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
      await new Promise<void>((resolve) => stream.once("close", () => resolve()));
      session.destroy();
      return { head, interim, text };
    }

    it("has the length of an answer to HEAD passed on", async () => {
      respond = (stream) => stream.respond({ ":status": 200, "content-length": 77 }, { endStream: true });
      const { head } = await ask({ ":method": "HEAD" });
      expect(head).toMatchObject({ ":status": 200, "content-length": "77" });
    });

    it("has interim answers passed on", async () => {
      respond = (stream) => {
        stream.additionalHeaders({ ":status": 103, link: "</a>" });
        stream.respond({ ":status": 200 }, { endStream: true });
      };
      expect(await ask({})).toMatchObject({ interim: [103], head: { ":status": 200 } });
    });

    it("has as many interim answers passed on as a service sends that works, and refuses a flood", async () => {
      let count = 30;
      respond = (stream) => {
        for (let sent = 0; sent < count; sent++) stream.additionalHeaders({ ":status": 102 });
        stream.respond({ ":status": 200 }, { endStream: true });
      };
      const { interim, head } = await ask({});
      expect([interim.length, head[":status"]]).toEqual([30, 200]);
      count = 100;
      const flood = await ask({});
      expect([flood.interim.length, flood.head[":status"]]).toEqual([64, 502]);
      expect(flood.text).toContain("ISTH-3011");
    });

    it.each(["http", "https"])("has the scheme %s told to the service", async (scheme) => {
      let seen: unknown;
      respond = (stream, headers) => {
        seen = headers[":scheme"];
        stream.respond({ ":status": 200 }, { endStream: true });
      };
      await ask({ ":scheme": scheme });
      expect(seen).toBe(scheme);
    });

    it("has no field added to an answer that is a head alone", async () => {
      const { head } = await ask({});
      expect(Object.keys(head).sort()).toEqual([":status", "date"]);
    });

    it("says what was wrong with more fields than are taken, and asks for them once", async () => {
      let calls = 0;
      respond = (stream) => {
        calls += 1;
        const many = Object.fromEntries(Array.from({ length: 200 }, (_, at) => [`x-${at}`, "v"]));
        stream.respond({ ":status": 200, ...many }, { endStream: true });
      };
      const { head, text } = await ask({});
      expect([head[":status"], calls]).toEqual([502, 1]);
      expect(text).toMatch(/ISTH-3011.*more than 1[01]0 fields/);
    });

    it.each(["resetAndDestroy", "destroy"] as const)(
      "has a gRPC stream end as UNAVAILABLE when the service's connection is lost by %s",
      async (lose) => {
        respond = (stream) => {
          stream.respond({ ":status": 200, "content-type": "application/grpc" });
          stream.write(Buffer.of(0, 0, 0, 0, 1, 0x61));
        };
        const client = echoClient(address());
        const { path, requestSerialize, responseDeserialize } = ECHO.serverStream;
        const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, "1 1");
        call.on("error", () => {});
        call.once("data", () => sockets.forEach((socket) => void socket[lose]()));
        const ended = await new Promise((resolve) => call.once("status", resolve));
        client.close();
        expect(ended).toMatchObject({
          code: grpc.status.UNAVAILABLE,
          details: expect.stringContaining("ISTH-3005"),
        });
      },
    );
  },
);

it.each([{ judged: false }, { judged: true }])(
  "says what is no HTTP/1.1 and asks for it once, requests read where they arrive: $judged",
  async ({ judged }) => {
    const asked: RawSocket[] = [];
    const change = judged ? withPathPolicy : (snapshot: Snapshot) => snapshot;
    const scene = await startEdge({
      agents: true,
      change,
      script: (connection) => {
        asked.push(connection);
        connection.send("SSH-2.0-OpenSSH_9.2\r\n");
      },
    });
    const client = (await scene.dial()).send("GET / HTTP/1.1\r\nhost: cart.shop\r\n\r\n");
    await client.receives("HTTP/1.1 502 ");
    await client.receives("ISTH-3011");
    await scene.stop();
    expect(asked).toHaveLength(1);
  },
);

it.each([{ judged: false }, { judged: true }])(
  "tells a service it switched with that the client had said all, requests read where they arrive: $judged",
  async ({ judged }) => {
    const change = judged ? withPathPolicy : (snapshot: Snapshot) => snapshot;
    const scene = await startEdge({
      agents: true,
      change,
      script: (connection) => {
        const answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n";
        setTimeout(() => connection.send(answer), 50);
      },
    });
    const client = await scene.dial();
    client.send(getRequest("/", "Connection: Upgrade", "Upgrade: chat")).socket.end();
    await client.receives("101 ");
    const service = scene.workload.connections.at(-1);
    await service?.isGone();
    expect(service).toMatchObject({ ended: true, reset: false });
    await scene.stop();
  },
);

it.each([{ judged: false }, { judged: true }])(
  "has the code passed on by which a service breaks off an answer, requests read where they arrive: $judged",
  async ({ judged }) => {
    let breakOff: (() => void) | undefined;
    const service = createServer((socket) => {
      awaitHttp2Request(socket, (asked) => {
        socket.write(headersFrame(asked, OK));
        breakOff = () =>
          void socket.write(frame(FrameType.rstStream, 0, asked, uint32(ErrorCode.enhanceYourCalm)));
      });
    });
    service.listen(0, "127.0.0.1");
    await once(service, "listening");
    const { port } = service.address() as AddressInfo;
    const change = judged ? withPathPolicy : (snapshot: Snapshot) => snapshot;
    const mesh = await startMesh({ agents: true, endpoint: `127.0.0.1:${port}`, change });
    const session = http2.connect(`http://${mesh.address("ns/shop/sa/web")}`);
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    stream.once("response", () => breakOff?.());
    stream.resume();
    await new Promise<void>((resolve) => stream.once("close", () => resolve()));
    session.destroy();
    mesh.close();
    service.close();
    expect(stream.rstCode).toBe(ErrorCode.enhanceYourCalm);
  },
);
