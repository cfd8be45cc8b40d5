// Longer than other files: the attempts stand in one list, so that what is missing can be seen.
import { connect as tlsConnect } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import { clientHello } from "../fakes/client-hello.ts";
import { BATCH, type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

const LOOPBACK = "127.0.0.1/32";
const CLOUD = "169.254.169.254";

/**
 * Attempts to get out by another door than the policies open: each is refused with its own code, nothing of it reaches any
 * server, and the gateway serves on.
 */
describe.each([
  ["without agents", false],
  ["through agents", true],
])("no way around the policies, %s", (_what, agents) => {
  let scene: EgressScene;
  /** What the policies allow. */
  let good: OutsideServer;
  let secure: OutsideServer;
  /** What they do not. */
  let evil: OutsideServer;

  const policies = (): readonly SnapshotEgressPolicy[] => [
    {
      name: "good",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [
        {
          hostname: "good.example.com",
          cidr: LOOPBACK,
          ports: [good.port],
          http: { methods: ["GET"], paths: [{ type: "PathPrefix", value: "/v1" }] },
        },
        { hostname: "*.wild.example.com", ports: [good.port, 80], protocol: "http" },
        { hostname: "rebound.example.com", ports: [good.port], protocol: "http" },
        { hostname: "inward.example.com", ports: [good.port], protocol: "http" },
        { cidr: "203.0.114.0/24", ports: [443] },
        { cidr: "0.0.0.0/0", ports: [9_999] },
      ],
    },
    {
      name: "batch",
      mode: "enforce",
      from: [BATCH],
      to: [],
      external: [{ hostname: "batch.example.com", cidr: LOOPBACK, ports: [secure.port] }],
    },
    {
      name: "pass",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [{ hostname: "secure.example.com", cidr: LOOPBACK, ports: [secure.port, 443] }],
      tls: { mode: "passthrough" },
    },
  ];

  beforeAll(async () => {
    scene = await startEgress({ agents, policies: [] });
    good = await startOutsideServer({
      answer: (request, response) => {
        response.writeHead(request.url === "/v1/away" ? 302 : 200, {
          location: `http://127.0.0.1:${evil.port}/stolen`,
        });
        response.end("hello");
      },
    });
    evil = await startOutsideServer({});
    secure = await startOutsideServer({ tls: scene.ca.issue({ dns: ["secure.example.com"] }) });
    scene.dns.answer("good.example.com", ["127.0.0.1"]);
    scene.dns.answer("secure.example.com", ["127.0.0.1"]);
    scene.dns.answer("a.wild.example.com", ["127.0.0.1"]);
    scene.dns.answer("inward.example.com", ["10.0.0.1", "::1", "fd00:ec2::254", CLOUD, "::ffff:127.0.0.1"]);
    scene.dns.answer("rebound.example.com", ["203.0.113.1"], ["127.0.0.1"]);
    scene.dns.answer("evil.example.com", ["127.0.0.1"]);
    scene.apply(...policies());
    await scene.way(WEB, `good.example.com:${good.port}`);
  });
  afterEach(async () => {
    expect(evil.seen).toEqual([]);
    expect(evil.connections()).toBe(0);
    // The gateway lives, and what is allowed still works.
    const client = await scene.dial(WEB, "proxy");
    client.send(
      `GET http://good.example.com:${good.port}/v1 HTTP/1.1\r\nHost: good.example.com:${good.port}\r\nConnection: close\r\n\r\n`,
    );
    expect(await client.receives("hello")).toMatch(/^HTTP\/1\.1 200/);
    scene.denials();
    good.seen.length = 0;
  });
  afterAll(async () => {
    await scene.stop();
    await Promise.all([good.stop(), evil.stop(), secure.stop()]);
  });

  /** What the client hears: `403 ISTH-2201`, or `reset`. */
  const attempt = async (workload: string, way: string, bytes: string | Buffer): Promise<string> => {
    const client = await scene.dial(workload, way);
    client.send(bytes);
    await client.isGone();
    const answer = /^HTTP\/1\.1 (\d+)[^]*?isthmus-code: (ISTH-\d+)/.exec(client.text);
    return answer === null ? (client.text === "" ? "reset" : client.text) : `${answer[1]} ${answer[2]}`;
  };
  const codes = () => scene.denials().map((line) => line["code"]);

  const CONNECT = (target: string, host = target, more = ""): string =>
    `CONNECT ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`;
  const GET = (url: string, host: string, more = ""): string =>
    `GET ${url} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${more}\r\n`;

  describe("by CONNECT", () => {
    it.each([
      ["another host", () => `evil.example.com:${evil.port}`, "403 ISTH-2201"],
      ["another host in capitals", () => `EVIL.EXAMPLE.COM:${evil.port}`, "403 ISTH-2201"],
      ["another port of an allowed host", () => `good.example.com:${evil.port}`, "403 ISTH-2201"],
      ["a trailing dot", () => `good.example.com.:${good.port}`, "400 ISTH-4005"],
      ["a name that only ends alike", () => `evilgood.example.com:${good.port}`, "403 ISTH-2201"],
      ["a name below an exact one", () => `a.good.example.com:${good.port}`, "403 ISTH-2201"],
      ["the wildcard's own name", () => `wild.example.com:${good.port}`, "403 ISTH-2201"],
      ["punycode that looks alike", () => `xn--good-2ja.example.com:${good.port}`, "403 ISTH-2201"],
      ["loopback", () => `127.0.0.1:${evil.port}`, "403 ISTH-2201"],
      ["loopback in short", () => `127.1:${evil.port}`, "403 ISTH-2201"],
      ["loopback as one number", () => `2130706433:${evil.port}`, "403 ISTH-2201"],
      ["loopback in octal", () => `0177.0.0.1:${evil.port}`, "403 ISTH-2201"],
      ["loopback in hexadecimal", () => `0x7f000001:${evil.port}`, "403 ISTH-2201"],
      ["loopback in mixed notations", () => `0x7f.0.0.01:${evil.port}`, "403 ISTH-2201"],
      ["loopback with zeros", () => `127.000.000.001:${evil.port}`, "403 ISTH-2201"],
      ["localhost", () => `localhost:${evil.port}`, "403 ISTH-2201"],
      ["this host", () => `0.0.0.0:${evil.port}`, "403 ISTH-2201"],
      ["IPv6 loopback", () => `[::1]:${evil.port}`, "403 ISTH-2201"],
      ["loopback mapped into IPv6", () => `[::ffff:127.0.0.1]:${evil.port}`, "403 ISTH-2201"],
      ["the same in hexadecimal", () => `[::ffff:7f00:1]:${evil.port}`, "403 ISTH-2201"],
      ["loopback behind NAT64", () => `[64:ff9b::7f00:1]:${evil.port}`, "403 ISTH-2201"],
      ["cloud metadata", () => `${CLOUD}:80`, "403 ISTH-2201"],
      ["cloud metadata as a number", () => "2852039166:80", "403 ISTH-2201"],
      ["cloud metadata in IPv6", () => "[fd00:ec2::254]:80", "403 ISTH-2201"],
      ["a guarded address that 0.0.0.0/0 only covers", () => "127.0.0.1:9999", "403 ISTH-2203"],
      ["cloud metadata that 0.0.0.0/0 only covers", () => `${CLOUD}:9999`, "403 ISTH-2203"],
      ["port 0", () => "good.example.com:0", "400 ISTH-2207"],
      ["port 65536", () => "good.example.com:65536", "400 ISTH-4005"],
      ["no port", () => "good.example.com", "400 ISTH-2207"],
      ["two ports", () => `good.example.com:${good.port}:${evil.port}`, "400 ISTH-4005"],
      [
        "user information",
        () => `good.example.com:${good.port}@evil.example.com:${evil.port}`,
        "400 ISTH-4005",
      ],
      ["a zone", () => `[fe80::1%25lo]:${evil.port}`, "400 ISTH-4005"],
      ["an encoded dot", () => `good%2eexample.com:${good.port}`, "400 ISTH-4005"],
      ["a path", () => `evil.example.com:${evil.port}/good.example.com`, "400 ISTH-4005"],
    ])("%s", async (_name, target, expected) => {
      expect(await attempt(WEB, "proxy", CONNECT(target()))).toBe(expected);
      expect(codes()).toEqual([expected.slice(4)]);
    });

    it("with a Host that names an allowed one", async () => {
      const bytes = CONNECT(`evil.example.com:${evil.port}`, `good.example.com:${good.port}`);
      expect(await attempt(WEB, "proxy", bytes)).toBe("421 ISTH-2204");
    });

    it("to an allowed host with a Host that names another", async () => {
      const bytes = CONNECT(`good.example.com:${good.port}`, `evil.example.com:${evil.port}`);
      expect(await attempt(WEB, "proxy", bytes)).toBe("421 ISTH-2204");
    });

    it("with a body that smuggles a request", async () => {
      const bytes = `${CONNECT(`good.example.com:${good.port}`, undefined, "Content-Length: 10\r\n")}0123456789`;
      expect(await attempt(WEB, "proxy", bytes)).toBe("400 ISTH-4004");
    });

    it("and then a request with another Host", async () => {
      const bytes =
        CONNECT(`good.example.com:${good.port}`).replace("Connection: close\r\n", "") +
        GET("/v1", "evil.example.com");
      const client = await scene.dial(WEB, "proxy");
      client.send(bytes);
      expect(await client.receives("ISTH-2204")).toContain("421 Misdirected Request");
      expect(good.seen).toEqual([]);
    });

    it("and then a method that the rule does not give", async () => {
      const authority = `good.example.com:${good.port}`;
      const client = await scene.dial(WEB, "proxy");
      client.send(
        `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\nDELETE /v1 HTTP/1.1\r\nHost: ${authority}\r\n\r\n`,
      );
      await client.receives("ISTH-2202");
      expect(good.seen).toEqual([]);
    });
  });

  describe("by absolute-form", () => {
    const at = (host: string) => `http://${host}`;
    it.each([
      [
        "another host",
        () => GET(at(`evil.example.com:${evil.port}/`), `evil.example.com:${evil.port}`),
        "403 ISTH-2201",
      ],
      [
        "a Host that differs",
        () => GET(at(`good.example.com:${good.port}/v1`), `evil.example.com:${evil.port}`),
        "421 ISTH-2204",
      ],
      [
        "a URL that differs from an allowed Host",
        () => GET(at(`evil.example.com:${evil.port}/v1`), `good.example.com:${good.port}`),
        "421 ISTH-2204",
      ],
      [
        "user information",
        () =>
          GET(
            at(`good.example.com:${good.port}@evil.example.com:${evil.port}/`),
            `evil.example.com:${evil.port}`,
          ),
        "400 ISTH-2207",
      ],
      [
        "https, whose TLS nobody would check",
        () => GET(`https://good.example.com:${good.port}/v1`, `good.example.com:${good.port}`),
        "400 ISTH-2207",
      ],
      [
        "another scheme",
        () => GET(`ftp://good.example.com:${good.port}/v1`, `good.example.com:${good.port}`),
        "400 ISTH-2207",
      ],
      [
        "no scheme",
        () => GET(`//evil.example.com:${evil.port}/`, `good.example.com:${good.port}`),
        "400 ISTH-2207",
      ],
      ["origin-form", () => GET("/v1", `good.example.com:${good.port}`), "400 ISTH-2207"],
      [
        "a backslash",
        () => GET(at(`evil.example.com:${evil.port}\\@good.example.com/`), `evil.example.com:${evil.port}`),
        "400 ISTH-2207",
      ],
      [
        "a path outside the rule",
        () => GET(at(`good.example.com:${good.port}/v2`), `good.example.com:${good.port}`),
        "403 ISTH-2202",
      ],
      [
        "a path that climbs out",
        () => GET(at(`good.example.com:${good.port}/v1/../v2`), `good.example.com:${good.port}`),
        "403 ISTH-2202",
      ],
      [
        "a path that climbs out encoded",
        () => GET(at(`good.example.com:${good.port}/v1/%2e%2e/v2`), `good.example.com:${good.port}`),
        "403 ISTH-2202",
      ],
      [
        "a path with a doubled slash",
        () => GET(at(`good.example.com:${good.port}/v1//v2`), `good.example.com:${good.port}`),
        "403 ISTH-2202",
      ],
      [
        "another method",
        () =>
          GET(at(`good.example.com:${good.port}/v1`), `good.example.com:${good.port}`).replace("GET", "PUT"),
        "403 ISTH-2202",
      ],
      [
        "a method in another case",
        () =>
          GET(at(`good.example.com:${good.port}/v1`), `good.example.com:${good.port}`).replace("GET", "get"),
        "403 ISTH-2202",
      ],
      [
        "two Hosts",
        () =>
          GET(
            at(`good.example.com:${good.port}/v1`),
            `good.example.com:${good.port}`,
            `Host: evil.example.com\r\n`,
          ),
        "400 ISTH-4005",
      ],
      [
        "two lengths",
        () =>
          GET(
            at(`good.example.com:${good.port}/v1`),
            `good.example.com:${good.port}`,
            "Content-Length: 0\r\nContent-Length: 1\r\n",
          ),
        "400 ISTH-4004",
      ],
      [
        "length and chunks",
        () =>
          GET(
            at(`good.example.com:${good.port}/v1`),
            `good.example.com:${good.port}`,
            "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
          ),
        "400 ISTH-4004",
      ],
      [
        "a name that leads inwards",
        () => GET(at(`inward.example.com:${good.port}/`), `inward.example.com:${good.port}`),
        "403 ISTH-2203",
      ],
      [
        "a wildcard's name that leads to loopback",
        () => GET(at(`a.wild.example.com:${good.port}/`), `a.wild.example.com:${good.port}`),
        "403 ISTH-2203",
      ],
      ["HTTP/2 with prior knowledge", () => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 ISTH-4006"],
    ])("%s", async (_name, bytes, expected) => {
      expect(await attempt(WEB, "proxy", bytes())).toBe(expected);
      expect(codes()).toEqual([expected.slice(4)]);
      expect(good.seen).toEqual([]);
    });

    it("a second request on the connection of an allowed one", async () => {
      const client = await scene.dial(WEB, "proxy");
      const allowed = GET(at(`good.example.com:${good.port}/v1`), `good.example.com:${good.port}`).replace(
        "Connection: close\r\n",
        "",
      );
      client.send(allowed + GET(at(`evil.example.com:${evil.port}/`), `evil.example.com:${evil.port}`));
      await client.receives("ISTH-2201");
      expect(good.seen).toHaveLength(1);
    });

    it("a request hidden in the body of an allowed one", async () => {
      const hidden = GET("/v2/secret", `good.example.com:${good.port}`);
      const client = await scene.dial(WEB, "proxy");
      client.send(
        GET(
          at(`good.example.com:${good.port}/v1`),
          `good.example.com:${good.port}`,
          `Content-Length: ${hidden.length}\r\n`,
        ) + hidden,
      );
      await client.receives("hello");
      expect(good.seen.map(({ url }) => url)).toEqual(["/v1"]);
    });

    it("a redirect is the workload's to follow, and that is judged", async () => {
      const client = await scene.dial(WEB, "proxy");
      client.send(GET(at(`good.example.com:${good.port}/v1/away`), `good.example.com:${good.port}`));
      expect(await client.receives("hello")).toMatch(/^HTTP\/1\.1 302/);
      expect(
        await attempt(WEB, "proxy", GET(`http://127.0.0.1:${evil.port}/stolen`, `127.0.0.1:${evil.port}`)),
      ).toBe("403 ISTH-2201");
    });

    it("headers that claim an identity do not leave", async () => {
      const claims =
        "X-Forwarded-Client-Cert: By=spiffe://x\r\nIsthmus-Caller: a.b.c\r\nisthmus_caller: x\r\nProxy-Authorization: Basic eA==\r\nClient-Cert: x\r\n";
      const client = await scene.dial(WEB, "proxy");
      client.send(GET(at(`good.example.com:${good.port}/v1`), `good.example.com:${good.port}`, claims));
      await client.receives("hello");
      expect(Object.keys(good.seen[0]?.headers ?? {}).sort()).toEqual(["host"]);
    });

    it("headers that claim another workload change nothing", async () => {
      const claims = `Isthmus-Caller: x\r\nX-Spiffe-Id: ${WEB}\r\nIsthmus-Way: address\r\n`;
      const bytes = GET(at(`good.example.com:${good.port}/v1`), `good.example.com:${good.port}`, claims);
      expect(await attempt(BATCH, "proxy", bytes)).toBe("403 ISTH-2201");
    });

    it("an answer that changes between check and use is dialled as it was checked", async () => {
      const bytes = GET(at(`rebound.example.com:${good.port}/`), `rebound.example.com:${good.port}`);
      expect(await attempt(WEB, "proxy", bytes)).toBe("403 ISTH-2203");
      await new Promise((resolve) => setTimeout(resolve, 1_100));
      expect(await attempt(WEB, "proxy", bytes)).toBe("403 ISTH-2203");
      expect(good.seen).toEqual([]);
    });
  });

  describe("by another workload's address", () => {
    it("every address speaks for its own workload only", async () => {
      const authority = `good.example.com:${good.port}`;
      expect(await attempt(BATCH, "proxy", CONNECT(authority))).toBe("403 ISTH-2201");
      expect(await attempt(WEB, "proxy", CONNECT(`batch.example.com:${secure.port}`))).toBe("403 ISTH-2201");
      expect(scene.denials().map(({ caller }) => String(caller).split("/").at(-1))).toEqual(["batch", "web"]);
    });

    it("SNI at another workload's listener", async () => {
      const client = await scene.dial(BATCH, "sni");
      client.send(clientHello({ serverName: "secure.example.com" }));
      await client.isGone();
      expect(codes()).toEqual(["ISTH-2201"]);
    });
  });

  describe("by a local address", () => {
    it.each([
      ["a Host of another server", () => GET("/v1", "evil.example.com"), "421 ISTH-2204"],
      [
        "an absolute target",
        () => GET(`http://evil.example.com:${evil.port}/`, "evil.example.com"),
        "400 ISTH-4005",
      ],
      ["CONNECT", () => CONNECT(`evil.example.com:${evil.port}`), "405 ISTH-4007"],
      [
        "a Host with user information",
        () => GET("/v1", `good.example.com:${good.port}@evil.example.com`),
        "400 ISTH-4005",
      ],
      ["a trailing dot in Host", () => GET("/v1", `good.example.com.:${good.port}`), "400 ISTH-4005"],
    ])("%s", async (_name, bytes, expected) => {
      expect(await attempt(WEB, `good.example.com:${good.port}`, bytes())).toBe(expected);
      expect(good.seen).toEqual([]);
    });
  });

  describe("by TLS", () => {
    it.each([
      [
        "SNI of a host that no rule names",
        () => clientHello({ serverName: "evil.example.com" }),
        "ISTH-2201",
      ],
      ["SNI in capitals of such a host", () => clientHello({ serverName: "EVIL.example.com" }), "ISTH-2201"],
      ["no SNI", () => clientHello({}), "ISTH-2205"],
      [
        "ECH",
        () => clientHello({ serverName: "secure.example.com", extensions: [[0xfe0d, Buffer.alloc(64)]] }),
        "ISTH-2206",
      ],
      [
        "ESNI",
        () => clientHello({ serverName: "secure.example.com", extensions: [[0xffce, Buffer.alloc(64)]] }),
        "ISTH-2206",
      ],
      ["an address as SNI", () => clientHello({ serverName: "127.0.0.1" }), "ISTH-2207"],
      ["a trailing dot", () => clientHello({ serverName: "secure.example.com." }), "ISTH-2207"],
      [
        "a NUL behind an allowed name",
        () => clientHello({ serverName: "secure.example.com\0.evil.example.com" }),
        "ISTH-2210",
      ],
      [
        "two SNI extensions",
        () =>
          clientHello({
            serverName: "secure.example.com",
            extensions: [[0, clientHello.sni("evil.example.com")]],
          }),
        "ISTH-2210",
      ],
      ["something else than TLS", () => Buffer.from(GET("/", "secure.example.com")), "ISTH-2210"],
      ["half a record", () => clientHello({ serverName: "secure.example.com" }).subarray(0, 40), "ISTH-2205"],
    ])("%s", async (_name, bytes, expected) => {
      const client = await scene.dial(WEB, "sni");
      client.send(bytes());
      if (expected === "ISTH-2205") client.socket.end();
      await client.isGone();
      expect(client.text).toBe("");
      expect(codes()).toEqual([expected]);
    });

    it("SNI that differs from the CONNECT before it", async () => {
      const authority = `secure.example.com:${secure.port}`;
      const client = await scene.dial(WEB, "proxy");
      client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
      await client.receives("200 Connection established");
      client.send(clientHello({ serverName: "evil.example.com" }));
      await client.isGone();
      expect(codes()).toEqual(["ISTH-2204"]);
    });

    it("plain text after a CONNECT that passthrough was promised for", async () => {
      const authority = `secure.example.com:${secure.port}`;
      const client = await scene.dial(WEB, "proxy");
      client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
      await client.receives("200 Connection established");
      client.send(GET("/", "secure.example.com"));
      await client.isGone();
      expect(codes()).toEqual(["ISTH-2210"]);
      expect(secure.seen).toEqual([]);
    });

    it("while the right name passes, unterminated", async () => {
      const authority = `secure.example.com:${secure.port}`;
      const client = await scene.dial(WEB, "proxy");
      client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
      await client.receives("200 Connection established");
      client.socket.removeAllListeners("data");
      const secured = tlsConnect({
        socket: client.socket,
        servername: "secure.example.com",
        ca: scene.ca.certificatePem,
      });
      await new Promise((resolve, reject) => secured.once("secureConnect", resolve).once("error", reject));
      expect(secured.authorized).toBe(true);
      secured.destroy();
    });
  });
});
