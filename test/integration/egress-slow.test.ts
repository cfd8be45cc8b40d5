import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";
import type { RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

const SLOW = 150;
// What is promised: a slow caller ends within ten seconds. A second more, since deadlines are checked once a second.
const SLOW_MS = 11_000;
const HOST = "partner.example.com";
const BIG = 64 * 1024 * 1024;

// Ten thousand of them: `npm run soak:hostile -- --only slowEgress`.
describe.each([
  ["without agents", false],
  ["through agents", true],
])("slow callers of the outside, %s", (_what, agents) => {
  let scene: EgressScene;
  let server: OutsideServer;
  let skipped = 0;
  let bodies = 0;

  beforeAll(async () => {
    scene = await startEgress({ agents, policies: [], now: () => Date.now() + skipped });
    server = await startOutsideServer({
      answer: (request, response) => {
        request.on("data", () => (bodies += 1)).on("error", () => {});
        if (request.method === "GET") response.end(request.url === "/big" ? Buffer.alloc(BIG) : "hello");
      },
    });
    scene.dns.answer(HOST, ["127.0.0.1"]);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname: HOST, cidr: "127.0.0.1/32", ports: [server.port], protocol: "http" }],
    });
  });
  afterAll(async () => {
    await scene.stop();
    await server.stop();
  });

  const good = async (): Promise<void> => {
    const client = await scene.dial(WEB, `${HOST}:${server.port}`);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    await client.receives("hello");
  };
  const dialMany = (way: string): Promise<RawSocket[]> =>
    Promise.all(Array.from({ length: SLOW }, () => scene.dial(WEB, way)));

  it("with heads and bodies that do not end are all told 408, while a good one is served", async () => {
    const heads = await dialMany("proxy");
    const halves = await dialMany(`${HOST}:${server.port}`);
    for (const one of heads) one.send(`GET http://${HOST}:${server.port}/ HTTP/1.1\r\nHost: ${HOST}\r\nA: b`);
    for (const one of halves) one.send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nb");
    await until("their bytes have arrived", 5_000, () => (bodies >= SLOW ? true : undefined));
    await good();
    skipped += SLOW_MS;
    for (const one of [...heads, ...halves]) await one.isGone();
    for (const one of [...heads, ...halves]) expect(one.text).toMatch(/^HTTP\/1.1 408 [^]*ISTH-4003/);
    await good();
  });

  it("that read nothing of a long answer are cut, while a good one is served", async () => {
    const readers = await Promise.all([1, 2, 3].map(() => scene.dial(WEB, `${HOST}:${server.port}`)));
    for (const one of readers) {
      one.socket.pause();
      one.send("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    await until("all were asked for", 5_000, () =>
      server.seen.filter(({ url }) => url === "/big").length >= readers.length ? true : undefined,
    );
    await good();
    skipped += SLOW_MS;
    await good();
    await until("the host's connections have ended", 10_000, async () => {
      skipped += 1_000;
      return (await server.open()) <= 1 ? true : undefined;
    });
    for (const one of readers) one.destroy();
  });
});
