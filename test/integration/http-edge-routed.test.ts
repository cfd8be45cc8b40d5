import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { SnapshotRouteRule } from "../../federation/model/traffic-route.ts";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { answering, getRequest, okResponse, type RawSocket } from "../fakes/raw-socket.ts";

const POST = "POST /in HTTP/1.1\r\nHost: cart.shop\r\n";
const RULE: SnapshotRouteRule = {
  filters: [
    {
      type: "RequestHeaderModifier",
      requestHeaderModifier: { set: [{ name: "x-rule", value: "yes" }], remove: ["x-gone"] },
    },
    { type: "ResponseHeaderModifier", responseHeaderModifier: { add: [{ name: "x-back", value: "yes" }] } },
    { type: "URLRewrite", urlRewrite: { path: { type: "ReplacePrefixMatch", replacePrefixMatch: "/new" } } },
  ],
  timeouts: { request: "20s", backendRequest: "10s" },
  retry: { attempts: 2, codes: [503], on: ["timeout"], methods: ["POST"], backoff: "1ms" },
};

/** HTTP/1.1 in full where a rule changes heads, keeps bodies and watches the clock. */
describe.each([{ agents: false }, { agents: true }])("a routed exchange, agents: $agents", ({ agents }) => {
  let scene: EdgeScene;
  let client: RawSocket;
  beforeAll(async () => {
    scene = await startEdge({
      agents,
      change: (snapshot) => ({
        ...snapshot,
        routes: [
          {
            cluster: "west",
            namespace: "shop",
            name: "all",
            firstSeen: "2026-01-01T00:00:00Z",
            mode: "enforce",
            parents: [{ namespace: "shop", name: "cart" }],
            rules: [RULE],
          },
        ],
      }),
    });
  });
  afterAll(() => scene.stop());
  beforeEach(async () => {
    scene.workload.clear();
    scene.workload.script = answering(okResponse());
    client = await scene.dial();
  });
  afterEach(() => client.destroy());

  it("answers pipelined requests in order, each with its heads changed", async () => {
    scene.workload.script = (connection, chunk) => {
      for (const [, path = ""] of chunk.toString().matchAll(/GET (\S+)/g)) connection.send(okResponse(path));
    };
    const paths = Array.from({ length: 30 }, (_, index) => `/${index}.`);
    client.send(paths.map((path) => getRequest(path, "x-gone: 1")).join(""));
    await client.receives("/new/29.");
    expect(client.text.match(/\/new\/\d+\./g)).toEqual(paths.map((path) => `/new${path}`));
    expect(client.text.match(/x-back: yes/g)).toHaveLength(30);
    expect(scene.workload.seen()).not.toContain("x-gone");
    expect(scene.workload.seen().match(/x-rule: yes/g)).toHaveLength(30);
  });

  it("passes a chunked request with trailers on, once more after a failure, byte for byte", async () => {
    const bodies: string[] = [];
    scene.workload.script = (connection) => {
      if (!connection.text.endsWith("x-sum: 1\r\n\r\n")) return;
      bodies.push(connection.text.slice(connection.text.indexOf("\r\n\r\n")));
      connection.forget();
      connection.send(
        bodies.length < 3 ? "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" : okResponse("third time"),
      );
    };
    client.send(`${POST}Transfer-Encoding: chunked\r\n\r\n5\r\nhel`).send("lo\r\n0\r\nx-sum: 1\r\n\r\n");
    await client.receives("third time");
    expect(bodies).toHaveLength(3);
    expect(new Set(bodies).size).toBe(1);
  });

  it("goes on with a body that was still under way when the first try failed", async () => {
    let tries = 0;
    scene.workload.script = (connection) => {
      if (tries === 0 && connection.text.includes("one")) {
        tries = 1;
        connection.send("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      } else if (connection.text.endsWith("onetwo")) connection.send(okResponse("whole"));
    };
    client.send(`${POST}Content-Length: 6\r\n\r\none`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.send("two");
    await client.receives("whole");
  });

  it("tries again where a kept connection was reset before its answer, though the rule names no resets", async () => {
    client.send(getRequest("/kept."));
    await client.receives(/ok$/);
    scene.workload.script = (connection) =>
      connection.text.includes("/new/kept.")
        ? connection.socket.resetAndDestroy()
        : connection.send(okResponse("again"));
    client.send(getRequest("/once-more."));
    await client.receives("again");
    expect(scene.workload.seen().match(/new\/once-more\./g)).toHaveLength(2);
  });

  it("does not where the connection was a fresh one", async () => {
    client.send(getRequest("/kept."));
    await client.receives(/ok$/);
    scene.workload.script = (connection) => connection.socket.resetAndDestroy();
    client.send(getRequest("/lost."));
    await client.receives("HTTP/1.1 502 ");
    expect(scene.workload.seen().match(/new\/lost\./g)).toHaveLength(2);
  });

  it("passes 100 Continue once and then the answer", async () => {
    scene.workload.script = (connection, chunk) => {
      const text = chunk.toString();
      if (text.includes("xpect: 100-continue")) connection.send("HTTP/1.1 100 Continue\r\n\r\n");
      else if (text.endsWith("hello")) connection.send(okResponse("created"));
    };
    client.send(`${POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
    await client.receives("HTTP/1.1 100 Continue\r\n\r\n");
    client.send("hello");
    await client.receives("created");
    expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 100", "HTTP/1.1 200"]);
  });

  it("delivers an answer that comes before the body was read, and ends the connection", async () => {
    scene.workload.script = (connection) => {
      connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
      connection.socket.end();
    };
    client.send(`${POST}Content-Length: 1000000\r\n\r\n`).send("x".repeat(1_000));
    await client.isGone();
    expect(client.text).toMatch(/^HTTP\/1\.1 413 [^]*x-back: yes[^]*connection: close\r\n\r\n$/);
  });

  it("expects no body in answers to HEAD, and passes chunks and trailers back", async () => {
    scene.workload.script = answering("HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n");
    client.send("HEAD / HTTP/1.1\r\nHost: cart.shop\r\n\r\n");
    await client.receives(/x-back: yes\r\n\r\n$/);
    client.forget();
    scene.workload.script = answering(
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    client.send(getRequest());
    await client.receives(/x-back: yes\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n$/);
  });

  it("answers a client that half-closed after its request", async () => {
    client.send(getRequest());
    client.socket.end();
    await client.isGone();
    expect(client.text).toMatch(/^HTTP\/1\.1 200 OK[^]*ok$/);
  });

  it("switches protocols and then leaves the bytes alone", async () => {
    scene.workload.script = (connection, chunk) => {
      if (chunk.toString().startsWith("GET"))
        connection.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
      else connection.send(chunk);
    };
    client.send(getRequest("/", "Connection: upgrade", "Upgrade: websocket"));
    await client.receives("101 Go");
    client.send("raw bytes");
    await client.receives("raw bytes");
  });

  it("lets no rule make one request two: what follows a bad head is never read", async () => {
    client.send(
      `${POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: cart.shop\r\n\r\n`,
    );
    await client.isGone();
    expect(client.text).toContain("HTTP/1.1 400 ");
    expect(scene.workload.seen()).toBe("");
  });
});
