import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { getRequest } from "../fakes/raw-socket.ts";

const HEAD = "POST /a HTTP/1.1\r\nHost: cart.shop\r\n";

/** What is sent, and what must come back. */
type Row = readonly [what: string, bytes: string, status: number, code: string];

const FRAMING: readonly Row[] = [
  [
    "Content-Length and Transfer-Encoding together",
    `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    400,
    "ISTH-4004",
  ],
  [
    "two different Content-Lengths",
    `${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!`,
    400,
    "ISTH-4004",
  ],
  [
    "two equal Content-Lengths",
    `${HEAD}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
    400,
    "ISTH-4004",
  ],
  ["a list of Content-Lengths", `${HEAD}Content-Length: 5,5\r\n\r\nhello`, 400, "ISTH-4004"],
  ["a signed Content-Length", `${HEAD}Content-Length: +5\r\n\r\nhello`, 400, "ISTH-4004"],
  ["a hexadecimal Content-Length", `${HEAD}Content-Length: 0x5\r\n\r\nhello`, 400, "ISTH-4004"],
  ["an underscored Content-Length", `${HEAD}Content-Length: 1_0\r\n\r\nhello`, 400, "ISTH-4004"],
  ["an empty Content-Length", `${HEAD}Content-Length: \r\n\r\nhello`, 400, "ISTH-4004"],
  [
    "an obfuscated Transfer-Encoding",
    `${HEAD}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n`,
    400,
    "ISTH-4004",
  ],
  [
    "two Transfer-Encodings",
    `${HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n`,
    400,
    "ISTH-4004",
  ],
];

const LINES: readonly Row[] = [
  ["a bare LF", "GET / HTTP/1.1\nHost: cart.shop\n\n", 400, "ISTH-4001"],
  ["a bare CR in a value", `${HEAD}A: b\rc\r\n\r\n`, 400, "ISTH-4001"],
  ["a folded line", `${HEAD}A: b\r\n c\r\n\r\n`, 400, "ISTH-4001"],
  ["a space before the colon", `${HEAD}Content-Length : 5\r\n\r\nhello`, 400, "ISTH-4001"],
  ["a NUL in a value", `${HEAD}A: b\0c\r\n\r\n`, 400, "ISTH-4001"],
  ["a control byte in a name", `${HEAD}A\x01: b\r\n\r\n`, 400, "ISTH-4001"],
  ["a control byte in the target", "GET /\x07 HTTP/1.1\r\nHost: cart.shop\r\n\r\n", 400, "ISTH-4001"],
  ["something that is not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "ISTH-4001"],
  ["HTTP/2 in a request line", "GET / HTTP/2.0\r\nHost: cart.shop\r\n\r\n", 505, "ISTH-4006"],
  ["HTTP/0.9", "GET /\r\n", 505, "ISTH-4006"],
  ["an unknown expectation", `${HEAD}Expect: tea\r\nContent-Length: 5\r\n\r\n`, 417, "ISTH-4008"],
];

const HOSTS: readonly Row[] = [
  ["no Host", "GET / HTTP/1.1\r\n\r\n", 400, "ISTH-4005"],
  ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "ISTH-4005"],
  ["a Host with user-info", "GET / HTTP/1.1\r\nHost: me@cart.shop\r\n\r\n", 400, "ISTH-4005"],
  ["an absolute-form target", "GET http://cart.shop/ HTTP/1.1\r\nHost: cart.shop\r\n\r\n", 400, "ISTH-4005"],
  [
    "an absolute-form target that contradicts Host",
    "GET http://other/ HTTP/1.1\r\nHost: cart.shop\r\n\r\n",
    400,
    "ISTH-4005",
  ],
  ["CONNECT", "CONNECT cart.shop:80 HTTP/1.1\r\nHost: cart.shop\r\n\r\n", 405, "ISTH-4007"],
  ["TRACE", "TRACE / HTTP/1.1\r\nHost: cart.shop\r\n\r\n", 405, "ISTH-4007"],
  [
    "Host named in Connection",
    "GET / HTTP/1.1\r\nHost: cart.shop\r\nConnection: host\r\n\r\n",
    400,
    "ISTH-4005",
  ],
];

const SIZES: readonly Row[] = [
  ["2,200 fields", `${HEAD}${"A: b\r\n".repeat(2_200)}\r\n`, 431, "ISTH-4002"],
  ["100 KiB of fields", `${HEAD}A: ${"b".repeat(100 * 1024)}\r\n\r\n`, 431, "ISTH-4002"],
  [
    "a target of 100 KiB",
    `GET /${"b".repeat(100 * 1024)} HTTP/1.1\r\nHost: cart.shop\r\n\r\n`,
    431,
    "ISTH-4002",
  ],
];

describe("a bad head at the HTTP edge", () => {
  let scene: EdgeScene;
  beforeAll(async () => {
    scene = await startEdge();
  });
  afterAll(() => scene.stop());
  beforeEach(() => {
    scene.workload.clear();
    scene.refusals();
    // The log's limit is so many lines a second; every case gets a second of its own.
    scene.skip(1_000);
  });

  describe.each([...FRAMING, ...LINES, ...HOSTS, ...SIZES])("%s", (_what, bytes, status, code) => {
    it(`is answered ${status} ${code}, ends the connection and reaches nobody`, async () => {
      const client = (await scene.dial()).send(bytes);
      await client.isGone();
      expect(client.text).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
      expect(client.text).toContain(`isthmus-code: ${code}\r\n`);
      expect(client.text).toContain("connection: close\r\n");
      expect(client.text.match(/HTTP\/1\.1 \d/g)).toHaveLength(1);
      expect(scene.refusals().map((line) => line["code"])).toEqual([code]);
      expect(scene.workload.seen()).toBe("");
    });

    it("is answered the same behind a good request, which is served", async () => {
      const client = await scene.dial();
      client.send(getRequest("/first"));
      await client.receives("\r\n\r\nok");
      client.send(bytes);
      await client.isGone();
      expect(client.text.slice(client.text.indexOf("\r\n\r\nok") + 6)).toMatch(
        new RegExp(`^HTTP/1.1 ${status} `),
      );
      expect(scene.workload.seen()).not.toContain("POST");
      expect(scene.workload.seen().match(/GET/g)).toHaveLength(1);
    });
  });

  it("smuggles nothing when it follows a good request in one packet", async () => {
    const client = (await scene.dial()).send(
      `${getRequest("/first")}${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${getRequest("/smuggled")}`,
    );
    await client.isGone();
    expect(client.text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 400"]);
    expect(scene.workload.seen()).not.toContain("smuggled");
  });

  it.each([
    ["a malformed chunk size", "0_2e\r\n"],
    ["a negative chunk size", "-0x0\r\n"],
    ["a chunk size of 17 digits", `${"1".repeat(17)}\r\n`],
    ["64 KiB of chunk extensions", `5;${"e".repeat(65_536)}\r\nhello\r\n0\r\n\r\n`],
    ["a chunk without its CRLF", "5\r\nhelloX"],
    ["a bare LF after a chunk size", "5\nhello\r\n0\r\n\r\n"],
  ])("refuses %s and the workload never sees a complete message", async (_what, body) => {
    scene.workload.script = () => {};
    const client = (await scene.dial()).send(`${HEAD}Transfer-Encoding: chunked\r\n\r\n`).send(body);
    await client.isGone();
    expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
    expect(client.text).toContain("isthmus-code: ISTH-4004");
    for (const connection of scene.workload.connections) await connection.isGone();
    expect(scene.workload.seen()).not.toContain("\r\n0\r\n\r\n");
  });
});
