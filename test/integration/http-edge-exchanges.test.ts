import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { answering, getRequest, okResponse, type RawSocket } from "../fakes/raw-socket.ts";

const POST = "POST /in HTTP/1.1\r\nHost: cart.shop\r\n";

describe.each([{ agents: false }, { agents: true }])(
  "an exchange at the HTTP edge, agents: $agents",
  ({ agents }) => {
    let scene: EdgeScene;
    let client: RawSocket;
    beforeAll(async () => {
      scene = await startEdge({ agents });
    });
    afterAll(() => scene.stop());
    beforeEach(async () => {
      scene.workload.clear();
      scene.workload.script = answering(okResponse());
      client = await scene.dial();
    });
    afterEach(() => client.destroy());

    /** The workload answers once it has all of `ending`. */
    const answerAfter = (ending: string, answer: string) => {
      scene.workload.script = (connection) => {
        if (connection.text.endsWith(ending)) connection.send(answer);
      };
    };

    it("keeps the connection for one request after another", async () => {
      for (const path of ["/1", "/2", "/3"]) {
        client.send(getRequest(path));
        await client.receives("\r\n\r\nok");
        client.forget();
      }
      expect(scene.workload.seen().match(/GET \/\d/g)).toEqual(["GET /1", "GET /2", "GET /3"]);
      expect(client.closed).toBe(false);
    });

    it("answers pipelined requests in order", async () => {
      scene.workload.script = (connection, chunk) => {
        for (const [, path = ""] of chunk.toString().matchAll(/GET (\S+)/g))
          connection.send(okResponse(path));
      };
      const paths = Array.from({ length: 50 }, (_, index) => `/${index}.`);
      client.send(paths.map((path) => getRequest(path)).join(""));
      await client.receives("/49.");
      expect(client.text.match(/(?<!HTTP)\/\d+\./g)).toEqual(paths);
    });

    it("goes on with a pipelined request after a late refusal", async () => {
      const calls: RawSocket[] = [];
      scene.workload.script = (connection) => {
        calls.push(connection);
        if (calls.length <= 3) connection.socket.resetAndDestroy();
        else connection.send(okResponse());
      };
      client.send(`${getRequest("/refused")}${getRequest("/served")}`);
      await client.receives("\r\n\r\nok");
      expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 502", "HTTP/1.1 200"]);
    });

    it("passes a chunked request and its trailers on", async () => {
      answerAfter("\r\n\r\n", "");
      answerAfter("x-sum: 1\r\n\r\n", okResponse());
      client
        .send(`${POST}Transfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nhel`)
        .send("lo\r\n0\r\nx-sum: 1\r\n\r\n");
      await client.receives("\r\n\r\nok");
      expect(scene.workload.seen()).toContain("5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
    });

    it("passes a chunked response and its trailers on, and keeps the connection", async () => {
      scene.workload.script = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
      );
      for (let turn = 0; turn < 2; turn++) {
        client.send(getRequest());
        await client.receives("\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n");
        client.forget();
      }
    });

    it("takes an answer that arrives byte by byte, interim ones included", async () => {
      const answer = `HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${okResponse("slowly")}`;
      scene.workload.script = async (connection) => {
        for (const octet of answer) {
          connection.send(octet);
          await new Promise((resolve) => setImmediate(resolve));
        }
      };
      client.send(getRequest());
      await client.receives(/slowly$/);
      expect(client.text).toMatch(/^HTTP\/1\.1 103 [^]*<\/a>\r\n\r\nHTTP\/1\.1 200 /);
    });

    it("passes on as many interim answers as a service sends that works", async () => {
      const hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
      scene.workload.script = (connection) => connection.send(hint.repeat(30) + okResponse("at last"));
      client.send(getRequest());
      await client.receives("at last");
      expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual([
        ...Array.from({ length: 30 }, () => "HTTP/1.1 103"),
        "HTTP/1.1 200",
      ]);
    });

    it("passes 100 Continue once and then the answer, and nothing shifts", async () => {
      scene.workload.script = (connection, chunk) => {
        const text = chunk.toString();
        if (text.includes("xpect: 100-continue")) connection.send("HTTP/1.1 100 Continue\r\n\r\n");
        else if (text.endsWith("hello")) connection.send(okResponse("created"));
        else connection.send(okResponse("next"));
      };
      client.send(`${POST}Content-Length: 5\r\nExpect: 100-continue\r\n\r\n`);
      expect(await client.receives("\r\n\r\n")).toBe("HTTP/1.1 100 Continue\r\n\r\n");
      client.send("hello");
      await client.receives("created");
      client.send(getRequest("/next"));
      await client.receives("next");
      expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 100", "HTTP/1.1 200", "HTTP/1.1 200"]);
    });

    it("ends the connection when an expectation is refused, so that its body is never read as a request", async () => {
      scene.workload.script = (connection) =>
        connection.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
      client.send(`${POST}Content-Length: 40\r\nExpect: 100-continue\r\n\r\n`);
      await client.isGone();
      expect(client.text).toMatch(/^HTTP\/1\.1 417 [^]*connection: close\r\n\r\n$/);
      client.send(getRequest("/smuggled"));
      expect(scene.workload.seen()).not.toContain("smuggled");
    });

    it("expects no body in answers to HEAD", async () => {
      scene.workload.script = answering("HTTP/1.1 200 OK\r\nContent-Length: 4711\r\n\r\n");
      client.send("HEAD / HTTP/1.1\r\nHost: cart.shop\r\n\r\n");
      await client.receives("\r\n\r\n");
      expect(client.text).toContain("Content-Length: 4711\r\n");
      scene.workload.script = answering(okResponse("next"));
      client.send(getRequest());
      await client.receives("next");
    });

    it.each(["204 No Content", "304 Not Modified"])("expects no body in a %s", async (status) => {
      scene.workload.script = answering(`HTTP/1.1 ${status}\r\n\r\n`);
      client.send(`${getRequest()}${getRequest()}`);
      await client.receives(/HTTP\/1\.1 (204|304)[^]*HTTP\/1\.1 (204|304)[^]*\r\n\r\n$/);
    });

    it("serves an HTTP/1.0 client without chunks and closes", async () => {
      scene.workload.script = answering(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
      );
      client.send("GET / HTTP/1.0\r\nHost: cart.shop\r\nConnection: keep-alive\r\n\r\n");
      await client.isGone();
      expect(client.text).toMatch(/^HTTP\/1\.1 200 OK\r\nconnection: close\r\n\r\nhello$/);
      expect(scene.workload.seen()).toContain("GET / HTTP/1.0\r\nHost: cart.shop\r\nvia");
    });

    it("answers a client that half-closed after its request", async () => {
      client.send(getRequest());
      client.socket.end();
      await client.isGone();
      expect(client.text).toMatch(/^HTTP\/1\.1 200 OK[^]*ok$/);
    });

    it("answers several pipelined requests of a client that half-closed", async () => {
      client.send(`${getRequest("/1")}${getRequest("/2")}${getRequest("/3")}`);
      client.socket.end();
      await client.isGone();
      expect(client.text.match(/HTTP\/1\.1 200/g)).toHaveLength(3);
    });

    it("closes when the client asks for it, and says so", async () => {
      client.send(getRequest("/", "Connection: close"));
      await client.isGone();
      expect(client.text).toContain("connection: close\r\n");
      expect(scene.workload.seen()).not.toContain("lose");
    });

    it("delivers an answer that ends with the connection", async () => {
      scene.workload.script = (connection) => {
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil the end");
        connection.socket.end();
      };
      client.send(getRequest());
      await client.isGone();
      expect(client.reset).toBe(false);
      expect(client.text).toMatch(/connection: close\r\n\r\nuntil the end$/);
    });

    it("strips identity that a workload claims for itself", async () => {
      const claimed = [
        "x-forwarded-client-cert: By=spiffe://evil",
        "X_Forwarded_Client_Cert: By=spiffe://evil",
        "isthmus-caller: spiffe://evil",
        "Isthmus_Caller: spiffe://evil",
        "client-cert: :evil:",
        "l5d-client-id: evil",
        "x-own: evil",
        "x-kept: good",
        "Connection: x-own",
      ];
      client.send(getRequest("/", ...claimed));
      await client.receives("\r\n\r\nok");
      expect(scene.workload.seen()).not.toContain("evil");
      expect(scene.workload.seen()).toContain("x-kept: good\r\n");
      client.forget();
      answerAfter("\r\n\r\n", "");
      answerAfter("0\r\n\r\n", okResponse());
      client.send(`${POST}Transfer-Encoding: chunked\r\n\r\n0\r\nisthmus-caller: evil\r\n\r\n`);
      await client.receives("\r\n\r\nok");
      expect(scene.workload.seen()).not.toContain("evil");
    });

    it("names itself in Via and refuses a request that comes round again", async () => {
      client.send(getRequest());
      await client.receives("\r\n\r\nok");
      const via = /via: (.*)\r\n/.exec(scene.workload.seen())?.[1] ?? "";
      client.send(getRequest("/again", `Via: ${via}`));
      await client.isGone();
      expect(client.text).toContain("HTTP/1.1 508 ");
      expect(client.text).toContain("isthmus-code: ISTH-3009");
    });
  },
);
