import type { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { answering, getRequest, okResponse, type RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

describe("a workload's bad answer at the HTTP edge", () => {
  let scene: EdgeScene;
  let client: RawSocket;
  beforeAll(async () => {
    scene = await startEdge();
  });
  afterAll(() => scene.stop());
  beforeEach(async () => {
    scene.workload.clear();
    scene.refusals();
    client = await scene.dial();
  });
  afterEach(() => client.destroy());

  /** Whatever happened before, the next request is served, by a connection of its own. */
  const nextIsServed = async () => {
    scene.workload.script = answering(okResponse("served"));
    const next = (await scene.dial()).send(getRequest("/next"));
    await next.receives("served");
    expect(next.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200"]);
  };

  it("drops a second response in the same packet and does not reuse the connection", async () => {
    scene.workload.script = (connection) => connection.send(okResponse("first") + okResponse("poison"));
    client.send(getRequest());
    await client.receives("first");
    await scene.workload.connections.at(-1)?.isGone();
    await nextIsServed();
    expect(client.text).not.toContain("poison");
  });

  it("drops a second response that comes later and does not reuse the connection", async () => {
    scene.workload.script = answering(okResponse("first"));
    client.send(getRequest());
    await client.receives("first");
    const used = scene.workload.connections.at(-1)?.send(okResponse("poison"));
    await used?.isGone();
    await nextIsServed();
    expect(client.text).not.toContain("poison");
  });

  it.each([
    [
      "a Content-Length that is not kept, then FIN",
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      "end",
    ],
    [
      "a Content-Length that is not kept, then RST",
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      "reset",
    ],
    [
      "a chunk that is cut, then FIN",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf",
      "end",
    ],
    [
      "chunks without the last one, then FIN",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
      "end",
    ],
    ["an answer until the end, then RST", "HTTP/1.1 200 OK\r\n\r\nhalf", "reset"],
  ])("passes %s on as an error, never as a complete message", async (_what, answer, how) => {
    scene.workload.script = (connection) => {
      connection.socket.write(answer, () => {
        if (how === "end") connection.socket.end();
      });
    };
    client.send(getRequest());
    await client.receives("half");
    if (how === "reset") scene.workload.connections.at(-1)?.socket.resetAndDestroy();
    await until("the client is told", 5_000, () => (client.closed ? true : undefined));
    expect(client.reset).toBe(true);
    await nextIsServed();
  });

  it.each([
    ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", "contradictory lengths"],
    [
      "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "a length and chunks",
    ],
    ["HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare LF"],
    ["HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "a folded line"],
    ["SSH-2.0-OpenSSH_9.2\r\n", "another protocol"],
    [`HTTP/1.1 200 OK\r\nA: ${"b".repeat(100_000)}\r\n\r\n`, "an oversized head"],
    [
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nframes",
      "101 that nobody asked for",
    ],
    ["HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100), "a storm of 1xx"],
  ])("answers 502 for %j", async (answer, _what) => {
    scene.workload.script = (connection) => connection.send(answer);
    client.send(getRequest());
    await client.receives("HTTP/1.1 502 ");
    expect(client.text).toContain("isthmus-code: ISTH-3011");
    expect(client.text).not.toContain("frames");
    await scene.workload.connections.at(-1)?.isGone();
    expect(scene.refusals().map((line) => line["code"])).toEqual(["ISTH-3011"]);
    await nextIsServed();
  });

  it("resets the client when a chunked answer turns malformed halfway", async () => {
    scene.workload.script = (connection) =>
      connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nxyz\r\n");
    client.send(getRequest());
    await until("the client is told", 5_000, () => (client.closed ? true : undefined));
    expect(client.reset).toBe(true);
    await nextIsServed();
  });

  it("answers 502 when the workload ends without a word, after one more try", async () => {
    let connections = 0;
    scene.workload.script = (connection) => {
      connections += 1;
      connection.socket.end();
    };
    client.send(getRequest());
    await client.receives("HTTP/1.1 502 ");
    expect(client.text).toContain("isthmus-code: ISTH-3005");
    expect(connections).toBeLessThanOrEqual(3);
  });

  it("never repeats a request that may have had an effect", async () => {
    let connections = 0;
    scene.workload.script = (connection) => {
      connections += 1;
      connection.socket.end();
    };
    client.send("POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 2\r\n\r\nhi");
    await client.receives("HTTP/1.1 502 ");
    expect(connections).toBe(1);
  });

  it("repeats a request unseen when a kept connection ended meanwhile", async () => {
    scene.workload.script = answering(okResponse("first"));
    client.send(getRequest("/1"));
    await client.receives("first");
    for (const { socket } of scene.workload.connections) socket.resetAndDestroy();
    scene.workload.script = answering(okResponse("second"));
    client.send(getRequest("/2"));
    await client.receives("second");
    expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
  });

  it("delivers an early answer, closes, and lets the workload see that the body was cut", async () => {
    scene.workload.script = (connection) =>
      connection.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    client.send(`POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 1000000\r\n\r\n${"b".repeat(1_000)}`);
    await client.isGone();
    expect(client.text).toMatch(/^HTTP\/1\.1 413 [^]*connection: close\r\n\r\nno$/);
    await scene.workload.connections.at(-1)?.isGone();
    await nextIsServed();
  });

  const UPLOAD = `POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 8000000\r\n\r\n${"b".repeat(8_000_000)}`;

  /** Leaves most of the request unread, so that the kernel resets what is still to be written when the connection is closed. */
  const answerAndClose = (answer: string, close: (socket: Socket) => unknown): void => {
    scene.workload.script = (connection) => {
      scene.workload.script = () => {};
      connection.socket.pause();
      connection.socket.write(answer, () => close(connection.socket));
    };
  };

  it("delivers the answer of a workload that closes without having read all of the body", async () => {
    for (let round = 0; round < 20; round++) {
      answerAndClose("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno", (socket) => socket.destroy());
      const uploading = (await scene.dial()).send(UPLOAD);
      await uploading.receives("HTTP/1.1 ");
      expect(uploading.text, `round ${round}`).toMatch(/^HTTP\/1\.1 413 [^]*no$/);
      uploading.destroy();
    }
    await nextIsServed();
  });

  it("takes no half of an answer without a length for a whole one, though the body could not be written", async () => {
    for (let round = 0; round < 20; round++) {
      answerAndClose("HTTP/1.1 200 OK\r\n\r\nhalf", (socket) => socket.resetAndDestroy());
      const uploading = (await scene.dial()).send(UPLOAD);
      await until("it is over", 5_000, () => (uploading.closed || uploading.ended ? true : undefined));
      if (uploading.text.startsWith("HTTP/1.1 200"))
        expect(uploading).toMatchObject({ ended: false, reset: true });
      uploading.destroy();
    }
    await nextIsServed();
  });

  it("goes on after an early answer to a body that the workload never reads", async () => {
    const body = "b".repeat(8_000_000);
    scene.workload.script = (connection) => {
      connection.socket.pause();
      connection.send(okResponse("early"));
    };
    client.send(`POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await client.receives("early");
    await client.isGone();
    await nextIsServed();
  });
});
