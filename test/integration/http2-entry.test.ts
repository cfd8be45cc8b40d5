// Longer than other files: one scene of five processes, and everything that HTTP/2 asks of it.
import { execFile } from "node:child_process";
import { once } from "node:events";
import http2 from "node:http2";
import { type AddressInfo, connect } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Flag, FrameType, PREFACE } from "../../gateway/dataplane/http2/frame.ts";
import { frame } from "../fakes/h2-frames.ts";
import { block, framesOf, headersFrame } from "../fakes/http2-sides.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { until } from "../fakes/until.ts";

const run = promisify(execFile);

interface Seen {
  readonly headers: http2.IncomingHttpHeaders;
  body: Buffer;
  ended: boolean;
  rstCode: number | undefined;
}

describe("a workload that speaks HTTP/2", () => {
  let mesh: Mesh;
  let server: http2.Http2Server;
  const sessions = new Set<http2.ServerHttp2Session>();
  const seen: Seen[] = [];
  let respond: (stream: http2.ServerHttp2Stream, request: Seen) => void;
  const answerOk = (stream: http2.ServerHttp2Stream, request: Seen) =>
    void stream.once("end", () => {
      // node:http2 says `end` for what was cut, too.
      if (stream.destroyed || stream.closed) return;
      stream.respond({ ":status": 200, "x-bytes": request.body.length });
      stream.end("hello");
    });
  beforeAll(async () => {
    server = http2.createServer();
    server.on("session", (session) => {
      sessions.add(session);
      session.on("error", () => {});
      session.once("close", () => sessions.delete(session));
    });
    server.on("stream", (stream, headers) => {
      const request: Seen = { headers, body: Buffer.alloc(0), ended: false, rstCode: undefined };
      seen.push(request);
      stream.on("error", () => {});
      stream.on("data", (chunk: Buffer) => (request.body = Buffer.concat([request.body, chunk])));
      stream.once("end", () => (request.ended = true));
      stream.once("close", () => (request.rstCode = stream.rstCode));
      respond(stream, request);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    mesh = await startMesh({ agents: true, endpoint: `127.0.0.1:${port}` });
  });
  afterAll(() => {
    mesh.close();
    for (const session of sessions) session.destroy();
    server.close();
  });
  beforeEach(() => {
    seen.length = 0;
    respond = answerOk;
  });

  const entry = () => mesh.address("ns/shop/sa/web");

  async function ask(headers: http2.OutgoingHttpHeaders, body?: Buffer | string) {
    const session = http2.connect(`http://${entry()}`);
    session.on("error", () => {});
    const stream = session.request(headers, { endStream: body === undefined });
    stream.on("error", () => {});
    if (body !== undefined) stream.end(body);
    let head: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader = {};
    let received = Buffer.alloc(0);
    let trailers: http2.IncomingHttpHeaders | undefined;
    stream.once("response", (fields) => (head = fields));
    stream.once("trailers", (fields: http2.IncomingHttpHeaders) => (trailers = fields));
    stream.on("data", (chunk: Buffer) => (received = Buffer.concat([received, chunk])));
    await new Promise<void>((resolve) => stream.once("close", () => resolve()));
    session.destroy();
    return { head, received, trailers, rstCode: stream.rstCode };
  }

  /** Sends frames as they are; answers the frames that come back until the connection or `wanted` ends it. */
  async function talk(frames: readonly Buffer[], wanted: (type: number, stream: number) => boolean) {
    const socket = connect(addressOf(entry()));
    socket.on("error", () => {});
    let received = Buffer.alloc(0);
    let closed = false;
    socket.on("data", (chunk: Buffer) => (received = Buffer.concat([received, chunk])));
    socket.once("close", () => (closed = true));
    socket.write(Buffer.concat([PREFACE, frame(FrameType.settings, 0, 0), ...frames]));
    await until("an answer", 5_000, () =>
      closed || framesOf(received).some(({ type, stream }) => wanted(type, stream)) ? true : undefined,
    );
    socket.destroy();
    return framesOf(received);
  }

  it("is served by curl with prior knowledge", async () => {
    const { stdout } = await run("curl", ["-s", "-i", "--http2-prior-knowledge", `http://${entry()}/a?b=c`]);
    expect(stdout).toMatch(/^HTTP\/2 200/);
    expect(stdout).toContain("hello");
    expect(seen[0]?.headers).toMatchObject({ ":path": "/a?b=c", via: "2 isthmus-west.test.mesh" });
  });

  it("still has HTTP/1.1 on the same port, also when the first bytes could be both", async () => {
    const socket = connect(addressOf(entry()));
    socket.write("P");
    await new Promise((resolve) => setImmediate(resolve));
    socket.write("RI / HTTP/1.1\r\nhost: cart\r\n\r\n");
    const [bytes] = (await once(socket, "data")) as [Buffer];
    socket.destroy();
    // The service behind speaks HTTP/2 only, so the answer is 502 and not 400: the request was understood.
    expect(bytes.toString()).toMatch(/^HTTP\/1\.1 502/);
  });

  it("has bodies and trailers carried both ways", async () => {
    respond = (stream, request) => {
      stream.once("end", () => {
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.once("wantTrailers", () => stream.sendTrailers({ "x-sum": String(request.body.length) }));
        stream.end(Buffer.alloc(3_000_000, "a"));
      });
    };
    const { head, received, trailers } = await ask(
      { ":method": "POST", ":path": "/" },
      Buffer.alloc(3_000_000, "q"),
    );
    expect([head[":status"], received.length, trailers?.["x-sum"]]).toEqual([200, 3_000_000, "3000000"]);
  });

  it("gets interim answers, no content for HEAD, and 204 as they are", async () => {
    respond = (stream) => {
      stream.additionalHeaders({ ":status": 103, link: "</a>" });
      stream.respond({ ":status": 200, "content-length": 5 }, { endStream: true });
    };
    const { head, received, rstCode } = await ask({ ":method": "HEAD", ":path": "/" });
    expect([head["content-length"], received.length, rstCode]).toEqual(["5", 0, 0]);
    respond = (stream) => stream.respond({ ":status": 204 }, { endStream: true });
    expect((await ask({ ":path": "/" })).head[":status"]).toBe(204);
  });

  it("has its requests spread over several streams of few sessions", async () => {
    const session = http2.connect(`http://${entry()}`);
    const held: http2.ServerHttp2Stream[] = [];
    respond = (stream) => void held.push(stream);
    const streams = Array.from({ length: 100 }, () => session.request({ ":path": "/" }));
    await until("all have arrived", 5_000, () => (held.length === 100 ? true : undefined));
    expect(sessions.size).toBeLessThanOrEqual(16);
    expect(sessions.size).toBeGreaterThan(1);
    for (const stream of held) stream.respond({ ":status": 200 }, { endStream: true });
    await Promise.all(streams.map((stream) => once(stream.resume(), "close")));
    session.destroy();
  });

  it("cannot claim an identity, in whatever spelling", async () => {
    await ask({
      ":path": "/",
      "isthmus-caller": "x",
      isthmus_caller: "x",
      "x-forwarded-client-cert": "x",
      x_forwarded_client_cert: "x",
      "client-cert": "x",
      "x-mine": "kept",
    });
    const names = Object.keys(seen[0]?.headers ?? {}).filter((name) => !name.startsWith(":"));
    expect(names.sort()).toEqual(["via", "x-mine"]);
  });

  it("is told when a request has come round again", async () => {
    const { head } = await ask({ ":path": "/", via: "2 isthmus-west.test.mesh" });
    expect([head[":status"], head["isthmus-code"]]).toEqual([508, expect.stringMatching(/^ISTH-/)]);
  });

  it("has a cancelled request cancelled at the service", async () => {
    respond = () => {};
    const session = http2.connect(`http://${entry()}`);
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    await until("it has arrived", 3_000, () => seen[0]);
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await until("the service hears of it", 3_000, () => seen[0]?.rstCode);
    expect(seen[0]?.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
    session.destroy();
  });

  it("gets an answer that came before its request was complete, and is told to send no more", async () => {
    respond = (stream) => {
      stream.respond({ ":status": 413 });
      stream.end("too much");
    };
    const session = http2.connect(`http://${entry()}`);
    const stream = session.request({ ":method": "POST", ":path": "/" });
    stream.on("error", () => {});
    stream.write("begin");
    const [head] = (await once(stream, "response")) as [http2.IncomingHttpStatusHeader];
    let text = "";
    stream.on("data", (chunk: Buffer) => (text += chunk.toString()));
    await once(stream, "end");
    expect([head[":status"], text]).toEqual([413, "too much"]);
    session.destroy();
  });

  it("has a request repeated that the service's GOAWAY left unprocessed", async () => {
    await ask({ ":path": "/" });
    let count = 0;
    respond = (stream, request) => {
      count += 1;
      if (count > 1) return answerOk(stream, request);
      stream.session?.goaway(0, (stream.id ?? 0) - 2);
    };
    const { head } = await ask({ ":path": "/again" });
    expect([head[":status"], count]).toEqual([200, 2]);
  });

  it.each([
    ["CONNECT", { ":method": "CONNECT", ":authority": "cart:80" }, 405],
    ["TRACE", { ":method": "TRACE", ":path": "/" }, 405],
    ["a Host that contradicts :authority", { ":path": "/", ":authority": "cart", host: "other" }, 400],
    ["user information in :authority", { ":path": "/", ":authority": "a@cart" }, 400],
    ["a path that is none", { ":path": "cart/a" }, 400],
  ])("is refused %s, and nothing reaches the service", async (_what, headers, expected) => {
    const { head } = await ask(headers);
    expect([head[":status"], seen.length]).toEqual([expected, 0]);
  });

  it("is refused a path with a space in it", async () => {
    const fields = [":method", "GET", ":scheme", "http", ":path", "/a b", ":authority", "cart"];
    const frames = await talk([headersFrame(1, fields, Flag.endStream)], (_type, stream) => stream === 1);
    expect(frames.some(({ stream }) => stream === 1)).toBe(true);
    expect(seen).toHaveLength(0);
  });

  it("is told 431 for 10,000 fields and for more bytes than allowed", async () => {
    const fields = Array.from({ length: 10_000 }, (_, at) => ["x", String(at % 10)]).flat();
    const head = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "cart"];
    const whole = block([...head, ...fields]);
    const parts: Buffer[] = [];
    for (let at = 0; at < whole.length; at += 16_000) {
      const last = at + 16_000 >= whole.length ? Flag.endHeaders : 0;
      const type = at === 0 ? FrameType.headers : FrameType.continuation;
      parts.push(frame(type, last | (at === 0 ? Flag.endStream : 0), 1, whole.subarray(at, at + 16_000)));
    }
    const frames = await talk(parts, (_type, stream) => stream === 1);
    const answer = frames.find(({ stream }) => stream === 1);
    expect(answer?.type).toBe(FrameType.headers);
    // `:status` 431 is no entry of the static table, so it stands there in letters.
    expect(answer?.payload.toString("latin1")).toContain("431");
    expect(seen).toHaveLength(0);
  });

  it("aborts at the service what is shorter than its content-length", async () => {
    respond = () => {};
    const head = [
      ":method",
      "POST",
      ":scheme",
      "http",
      ":path",
      "/",
      ":authority",
      "cart",
      "content-length",
      "9",
    ];
    const frames = await talk(
      [headersFrame(1, head), frame(FrameType.data, Flag.endStream, 1, Buffer.from("short"))],
      (type) => type === FrameType.rstStream,
    );
    expect(frames.find(({ type }) => type === FrameType.rstStream)?.payload.readUInt32BE(0)).toBe(1);
    await until("the service hears of it", 3_000, () => seen[0]?.rstCode);
    expect(seen[0]?.rstCode).toBe(http2.constants.NGHTTP2_CANCEL);
  });

  it("that floods with resets is cut with a code, and others are served", async () => {
    respond = () => {};
    const log = mesh.member("west agent").log.length;
    const flood: Buffer[] = [];
    const open = block([":method", "GET", ":scheme", "http", ":path", "/", ":authority", "cart"]);
    for (let stream = 1; stream < 2 * 6_000; stream += 2) {
      flood.push(frame(FrameType.headers, Flag.endHeaders, stream, open));
      flood.push(frame(FrameType.rstStream, 0, stream, Buffer.of(0, 0, 0, 8)));
    }
    const frames = await talk(flood, (type) => type === FrameType.goaway);
    const goaway = frames.find(({ type }) => type === FrameType.goaway);
    expect(goaway?.payload.readUInt32BE(4)).toBe(http2.constants.NGHTTP2_ENHANCE_YOUR_CALM);
    const codes = mesh
      .member("west agent")
      .log.slice(log)
      .map((line) => line["code"]);
    expect(codes).toContain("ISTH-4009");
    respond = answerOk;
    expect((await ask({ ":path": "/" })).head[":status"]).toBe(200);
  });

  it("may PING for each piece of data, as its service may, by which gRPC measures the way", async () => {
    let byService = 0;
    respond = (stream) => {
      stream.respond({ ":status": 200 });
      stream.on("data", (chunk: Buffer) => {
        stream.session?.ping(() => (byService += 1));
        stream.write(chunk);
      });
      stream.once("end", () => stream.end());
    };
    const session = http2.connect(`http://${entry()}`);
    session.on("error", () => {});
    const stream = session.request({ ":method": "POST", ":path": "/" });
    stream.on("error", () => {});
    for (let round = 0; round < 500; round++) {
      stream.write("piece");
      await once(stream, "data");
      await new Promise((resolve) => session.ping(resolve));
    }
    stream.end();
    await once(stream, "end");
    session.destroy();
    expect([stream.rstCode, byService]).toEqual([0, 500]);
  });

  it("passes h2load", async () => {
    const { stdout } = await run("h2load", ["-n", "2000", "-c", "2", "-m", "20", `http://${entry()}/`]);
    expect(stdout).toContain("2000 succeeded, 0 failed");
  });

  // Last: it drains the entry.
  it("hears GOAWAY when its proxy drains, and finishes what it has", async () => {
    const held: http2.ServerHttp2Stream[] = [];
    respond = (stream) => void held.push(stream);
    const session = http2.connect(`http://${entry()}`);
    const stream = session.request({ ":path": "/" });
    await until("it has arrived", 3_000, () => held[0]);
    const goaway = once(session, "goaway");
    const drained = mesh.member("west agent").proxy.drain();
    await goaway;
    held[0]?.respond({ ":status": 200 }, { endStream: true });
    const [head] = (await once(stream, "response")) as [http2.IncomingHttpStatusHeader];
    expect(head[":status"]).toBe(200);
    await drained;
  });
});
