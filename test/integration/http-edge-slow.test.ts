import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { getRequest, okResponse, type RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

// What the edge promises: a slow client ends within ten seconds. A second more, since deadlines are checked once a second.
const SLOW_MS = 11_000;

interface SlowCase {
  readonly scene: EdgeScene;
  readonly client: RawSocket;
}

/** A scene for one case, since every case has its own time; they run side by side, since each waits for a tick. */
async function slowCase(run: (slow: SlowCase) => Promise<void>): Promise<void> {
  const scene = await startEdge();
  try {
    await run({ scene, client: await scene.dial() });
  } finally {
    await scene.stop();
  }
}

/** Sends, and resolves when the edge has read it. */
async function read({ scene, client }: SlowCase, bytes: string): Promise<void> {
  const before = scene.bytesUp();
  client.send(bytes);
  await until("the edge has read it", 5_000, () =>
    scene.bytesUp() - before >= bytes.length ? true : undefined,
  );
}

/** Skips more than an idle connection lives, and returns when the edge has looked at its deadlines since. */
async function skipAndTick(scene: EdgeScene, ms: number): Promise<void> {
  const canary = await scene.dial();
  canary.send(getRequest("/canary"));
  await canary.receives("HTTP/1.1");
  scene.skip(ms);
  await canary.isGone();
}

async function expectTimeout({ scene, client }: SlowCase): Promise<void> {
  await client.isGone();
  expect(client.text).toMatch(/^HTTP\/1\.1 408 /);
  expect(client.text).toContain("isthmus-code: ISTH-4003");
  expect(scene.refusals().map((line) => line["code"])).toEqual(["ISTH-4003"]);
}

describe.concurrent("a slow client at the HTTP edge", () => {
  it("gets 408 when its head does not end", () =>
    slowCase(async (slow) => {
      await read(slow, "GET / HTTP/1.1\r\nHost: cart.shop\r\nA: ");
      slow.scene.skip(SLOW_MS);
      await expectTimeout(slow);
      expect(slow.scene.workload.seen()).toBe("");
    }));

  it("gets 408 when its head trickles in byte by byte", () =>
    slowCase(async (slow) => {
      for (const octet of "GET / HTTP/1.1\r\nHost: c") {
        await read(slow, octet);
        slow.scene.skip(600);
      }
      await expectTimeout(slow);
    }));

  it("gets 408 for its second request too", () =>
    slowCase(async (slow) => {
      const { scene, client } = slow;
      client.send(getRequest());
      await client.receives("\r\n\r\nok");
      client.forget();
      await read(slow, "GET / HT");
      scene.skip(SLOW_MS);
      await expectTimeout(slow);
    }));

  it("gets 408 when its body stops, and the workload sees the request cut", () =>
    slowCase(async (slow) => {
      const { scene, client } = slow;
      scene.workload.script = () => {};
      client.send("POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 1000\r\n\r\nhalf");
      await workloadHas(scene, "half");
      scene.skip(SLOW_MS);
      await expectTimeout(slow);
      const [cut] = scene.workload.connections;
      await cut?.isGone();
      expect(cut).toMatchObject({ reset: true, ended: false });
    }));

  it("gets 408 when its body trickles in", () =>
    slowCase(async (slow) => {
      const { scene, client } = slow;
      scene.workload.script = () => {};
      client.send("POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 1000\r\n\r\n");
      for (let sent = 1; sent <= 4; sent++) {
        client.send("x");
        await workloadHas(scene, "x".repeat(sent));
        scene.skip(3_000);
      }
      await expectTimeout(slow);
    }));

  it("is closed without a word when it stays idle", () =>
    slowCase(async ({ scene, client }) => {
      client.send(getRequest());
      await client.receives("\r\n\r\nok");
      client.forget();
      scene.skip(121_000);
      await client.isGone();
      expect(client.text).toBe("");
    }));

  it("gets 504 when the workload never answers", () =>
    slowCase(async ({ scene, client }) => {
      scene.workload.script = () => {};
      client.send(getRequest());
      await workloadHas(scene, "\r\n\r\n");
      scene.skip(301_000);
      await client.receives("HTTP/1.1 504 ");
      expect(client.text).toContain("isthmus-code: ISTH-3006");
      await scene.workload.connections.at(-1)?.isGone();
    }));

  it("keeps an answer that flows slowly for longer than any time-out", () =>
    slowCase(async ({ scene, client }) => {
      const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
      scene.workload.script = (connection, chunk) =>
        connection.send(chunk.toString().includes("/slow") ? `${head}1\r\n0\r\n` : okResponse());
      client.send(getRequest("/slow"));
      await client.receives("1\r\n0\r\n");
      const slow = scene.workload.connections.find(({ text }) => text.includes("/slow"));
      for (const part of ["1", "2"]) {
        await skipAndTick(scene, 200_000);
        slow?.send(`1\r\n${part}\r\n`);
        await client.receives(`1\r\n${part}\r\n`);
      }
      slow?.send("0\r\n\r\n");
      await client.receives("0\r\n\r\n");
      expect(client.closed).toBe(false);
    }));

  it("keeps a WebSocket that once could not be written to", () =>
    slowCase(async ({ scene, client }) => {
      const big = "f".repeat(16 * 1024 * 1024);
      scene.workload.script = (connection, chunk) => {
        if (!chunk.toString().includes("upgrade")) return connection.send(okResponse());
        return connection
          .send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
          .send(big);
      };
      client.send(getRequest("/", "Connection: upgrade", "Upgrade: websocket"));
      await client.receives(/101 Go[^]*f{1000}/);
      await until("all frames have come", 10_000, () => (client.text.length > big.length ? true : undefined));
      await skipAndTick(scene, 400_000);
      scene.workload.connections[0]?.send("frame");
      await client.receives(/frame$/);
    }));
});

async function workloadHas(scene: EdgeScene, ending: string): Promise<void> {
  await until("the workload has it", 5_000, () =>
    scene.workload.seen().endsWith(ending) ? true : undefined,
  );
}

describe("five hundred slow clients", () => {
  it("are all ended in time, while a good one is served", () =>
    slowCase(async ({ scene, client }) => {
      const slow = await Promise.all(Array.from({ length: 500 }, () => scene.dial()));
      const before = scene.bytesUp();
      for (const { socket } of slow) socket.write("GET / HTTP/1.1\r\nA: b");
      await until("they are all at it", 5_000, () =>
        scene.bytesUp() - before >= 500 * 20 ? true : undefined,
      );
      expect(await client.send(getRequest()).receives("\r\n\r\nok")).toContain("HTTP/1.1 200 ");
      scene.skip(SLOW_MS);
      for (const one of slow) await one.isGone();
      expect(slow.filter(({ text }) => text.startsWith("HTTP/1.1 408 "))).toHaveLength(500);
      expect(await client.send(getRequest()).receives(/ok[^]*ok$/)).not.toContain("408");
    }));
});

describe("a client that does not read", () => {
  const BIG = "b".repeat(10_000);
  let scene: EdgeScene;
  let client: RawSocket;
  beforeAll(async () => {
    scene = await startEdge();
  });
  afterAll(() => scene.stop());
  beforeEach(async () => {
    client = await scene.dial();
    client.socket.pause();
  });
  afterEach(() => client.destroy());

  const goodRequest = async () => {
    const other = (await scene.dial()).send(getRequest("/good"));
    await other.receives("HTTP/1.1 200 OK");
    other.destroy();
  };

  it("is served no further pipelined request, and others are served by the streams it used", async () => {
    let served = 0;
    scene.workload.script = (connection, chunk) => {
      const heads = chunk.toString().split("\r\n\r\n").length - 1;
      served += heads;
      for (let head = 0; head < heads; head++) connection.send(okResponse(BIG));
    };
    client.send(getRequest().repeat(2_000));
    await settled(() => served);
    // Socket buffers of the machine hold a few megabytes; all the answers would be twenty.
    expect(served).toBeLessThan(1_500);
    for (let turn = 0; turn < 5; turn++) await goodRequest();
    client.socket.resume();
    await until("all are served", 10_000, () => (served >= 2_000 ? true : undefined));
  });

  it("holds back refusals as well", async () => {
    const denied = await scene.dial();
    const before = process.memoryUsage().rss;
    denied.socket.pause();
    scene.mesh.publish((snapshot) => ({
      ...snapshot,
      imports: snapshot.imports.map((rule) => ({ ...rule, workloads: [] })),
    }));
    denied.send(getRequest().repeat(100_000));
    await settled(() => denied.socket.bytesWritten);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
    scene.mesh.publish((snapshot) => ({
      ...snapshot,
      imports: snapshot.imports.map((rule) => ({ ...rule, workloads: ["ns/shop/sa/web"] })),
    }));
    await goodRequest();
  });

  it("stops its own download only, and is cut when it takes nothing for ten seconds", async () => {
    let sent = 0;
    scene.workload.script = (connection, chunk) => {
      if (chunk.toString().startsWith("GET /good")) return connection.send(okResponse());
      connection.send(`HTTP/1.1 200 OK\r\nContent-Length: ${400 * 1024 * 1024}\r\n\r\n`);
      const more = () => {
        do sent += 65_536;
        while (connection.socket.write(Buffer.alloc(65_536)) && sent < 400 * 1024 * 1024);
      };
      connection.socket.on("drain", more);
      more();
      return undefined;
    };
    client.send(getRequest("/download"));
    await settled(() => sent);
    expect(sent).toBeLessThan(64 * 1024 * 1024);
    await goodRequest();
    const cut = scene.workload.connections.find(({ text }) => text.includes("/download"));
    scene.skip(SLOW_MS);
    await until("the download is cut", 5_000, () => (cut?.closed === true ? true : undefined));
  });
});

/** Resolves when `read` has given the same answer for a while. */
async function settled(read: () => number): Promise<void> {
  let last = -1;
  let since = performance.now();
  await until("it comes to rest", 15_000, () => {
    const current = read();
    if (current !== last) since = performance.now();
    last = current;
    return performance.now() - since > 300 ? true : undefined;
  });
}
