import http2, { type Http2SecureServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import tls from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Flag } from "../../gateway/dataplane/http2/frame.ts";
import { type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { awaitHttp2Request, headersFrame, OK } from "../fakes/http2-sides.ts";

const HOST = "h2.example.com";

const policyFor = (port: number) => ({
  name: "p",
  mode: "enforce" as const,
  from: [WEB],
  to: [],
  external: [{ hostname: HOST, cidr: "127.0.0.1/32", ports: [port] }],
  tls: { mode: "originate" as const, validation: { caCertificateRefs: [{ name: "outside-ca" }] } },
});

describe.each([
  ["without agents", false],
  ["through agents", true],
])("trailers of a host that speaks HTTP/2, %s", (_what, agents) => {
  let scene: EgressScene;
  let server: Http2SecureServer;
  let port = 0;
  let seen: IncomingHttpHeaders | undefined;
  let answer: (stream: ServerHttp2Stream) => void = () => {};

  beforeAll(async () => {
    scene = await startEgress({ agents, policies: [] });
    const { certificatePem: cert, privateKeyPem: key } = scene.ca.issue({ dns: [HOST] });
    server = http2.createSecureServer({ cert, key });
    server.on("stream", (stream: ServerHttp2Stream) => {
      stream.on("error", () => {});
      stream.on("trailers", (fields: IncomingHttpHeaders) => {
        seen = fields;
      });
      stream.resume().once("end", () => answer(stream));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
    scene.dns.answer(HOST, ["127.0.0.1"]);
    scene.apply(policyFor(port));
  });
  afterAll(async () => {
    await scene.stop();
    server.close();
  });

  const withTrailers = (trailers: Readonly<Record<string, string>>, body: string) => {
    answer = (stream) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end(body);
    };
  };
  const call = async (request: string, end: RegExp): Promise<string> => {
    const client = await scene.dial(WEB, `${HOST}:${port}`);
    client.send(request);
    return client.receives(end);
  };

  it("end the response's chunks, with the body and without one", async () => {
    withTrailers({ "grpc-status": "0", "x-sum": "abc" }, "hello");
    const get = `GET / HTTP/1.1\r\nHost: ${HOST}:${port}\r\nTE: trailers\r\n\r\n`;
    expect(await call(get, /\r\n0\r\n[^]*\r\n\r\n/)).toMatch(
      /5\r\nhello\r\n0\r\ngrpc-status: 0\r\nx-sum: abc\r\n\r\n$/,
    );
    withTrailers({ "grpc-status": "5" }, "");
    expect(await call(get, /\r\n0\r\n[^]*\r\n\r\n/)).toMatch(/\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n$/);
  });

  it("leave out what has no say in a trailer", async () => {
    withTrailers({ vary: "accept", "cache-control": "no-store", "x-sum": "abc" }, "hello");
    const text = await call(`GET / HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`, /\r\n0\r\n[^]*\r\n\r\n/);
    expect(text).toMatch(/hello\r\n0\r\nx-sum: abc\r\n\r\n$/);
  });

  it("that would change what the head said break the response off", async () => {
    withTrailers({ "content-length": "3" }, "hello");
    const client = await scene.dial(WEB, `${HOST}:${port}`);
    client.send(`GET / HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`);
    await client.isGone();
    expect(client.text).not.toMatch(/\r\n0\r\n/);
  });

  it("cannot be told to an HTTP/1.0 client, which gets the whole body", async () => {
    withTrailers({ "x-sum": "abc" }, "hello");
    const text = await call(`GET / HTTP/1.0\r\nHost: ${HOST}:${port}\r\n\r\n`, /hello/);
    expect(text).toMatch(/\r\n\r\nhello$/);
    expect(text).not.toMatch(/x-sum|chunked/);
  });

  it("of a chunked request reach the host", async () => {
    withTrailers({ "x-done": "yes" }, "hello");
    seen = undefined;
    const head = `POST / HTTP/1.1\r\nHost: ${HOST}:${port}\r\nTransfer-Encoding: chunked\r\n\r\n`;
    await call(`${head}3\r\nabc\r\n0\r\nx-digest: 42\r\nhost: evil\r\n\r\n`, /x-done/);
    expect(seen).toMatchObject({ "x-digest": "42" });
    expect(seen).not.toHaveProperty("host");
  });
});

describe("interim answers of a host that speaks HTTP/2, to a client of HTTP/1.1", () => {
  let scene: EgressScene;
  let server: tls.Server;
  let port = 0;
  let statuses: readonly string[] = [];
  beforeAll(async () => {
    scene = await startEgress({ agents: false, policies: [] });
    const { certificatePem: cert, privateKeyPem: key } = scene.ca.issue({ dns: [HOST] });
    server = tls.createServer({ cert, key, ALPNProtocols: ["h2"] }, (socket) =>
      awaitHttp2Request(socket, (stream) => {
        const interim = statuses.map((status) => headersFrame(stream, [":status", status]));
        socket.write(Buffer.concat([...interim, headersFrame(stream, OK, Flag.endStream)]));
      }),
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
    scene.dns.answer(HOST, ["127.0.0.1"]);
  });
  afterAll(async () => {
    await scene.stop();
    server.close();
  });

  const ask = async (): Promise<string> => {
    // Each change of the rules begins with new connections to the host.
    scene.apply();
    scene.apply(policyFor(port));
    const client = await scene.dial(WEB, `${HOST}:${port}`);
    client.send(`GET / HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`);
    return client.receives(/HTTP\/1\.1 [2-5]\d\d [^]*\r\n\r\n/);
  };

  it("are passed on, as many as a host sends that works", async () => {
    statuses = Array.from({ length: 30 }, () => "102");
    expect((await ask()).match(/HTTP\/1\.1 \d+/g)).toEqual([
      ...statuses.map(() => "HTTP/1.1 102"),
      "HTTP/1.1 200",
    ]);
  });

  it("are refused where they are a flood", async () => {
    statuses = Array.from({ length: 100 }, () => "102");
    expect(await ask()).toMatch(/HTTP\/1\.1 502 [^]*ISTH-3011/);
  });

  it("never say that the protocol has changed", async () => {
    statuses = ["101"];
    expect(await ask()).toMatch(/^HTTP\/1\.1 502 [^]*ISTH-3011/);
  });
});
