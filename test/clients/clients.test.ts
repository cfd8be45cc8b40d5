import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findFreePorts } from "../../federation/cli/up/ports.ts";
import { type Federation, startFederation } from "../fakes/federation.ts";
import { until } from "../fakes/until.ts";

const execute = promisify(execFile);
const run = async (command: string, ...args: readonly string[]): Promise<string> =>
  (await execute(command, [...args], { encoding: "utf8", timeout: 30_000, maxBuffer: 16 * 1024 * 1024 }))
    .stdout;

function has(command: string): boolean {
  return spawnSync("sh", ["-c", `command -v ${command}`]).status === 0;
}

/** Debian keeps a version's programs to itself. */
function postgresPrograms(): string | undefined {
  try {
    const [version] = readdirSync("/usr/lib/postgresql").sort().reverse();
    const bin = `/usr/lib/postgresql/${version}/bin`;
    return version !== undefined && readdirSync(bin).includes("initdb") ? bin : undefined;
  } catch {
    return undefined;
  }
}

const REDIS = has("redis-server") && has("redis-cli");
const POSTGRES = has("psql") && has("setpriv") && process.getuid?.() === 0 ? postgresPrograms() : undefined;
const because = (present: unknown, what: string): string => (present ? "" : ` (skipped: ${what})`);

const service = (name: string, port: number, more: object) => ({
  namespace: "shop",
  name,
  services: [{ name, port: 80, endpoints: [`127.0.0.1:${port}`], ...more }],
});

/** All services of east for west's web. */
function documents(services: readonly ReturnType<typeof service>[]): object[] {
  const apiVersion = "isthmus.dev/v1alpha1";
  const clusters = [
    { name: "east", workloads: services },
    { name: "west", workloads: [{ namespace: "shop", name: "web" }] },
  ];
  return [
    { apiVersion, kind: "LocalFederation", metadata: { name: "test.mesh" }, spec: { clusters } },
    ...services.flatMap(({ name }) => [
      {
        apiVersion,
        kind: "ServiceExport",
        metadata: { cluster: "east", namespace: "shop", name },
        spec: { consumers: [{ cluster: "west" }] },
      },
      {
        apiVersion,
        kind: "ServiceImport",
        metadata: { cluster: "west", namespace: "shop", name },
        spec: { from: { cluster: "east" } },
      },
    ]),
  ];
}

describe("real clients and servers through four hops", () => {
  const directory = mkdtempSync(join(tmpdir(), "isthmus-clients-"));
  const children: ChildProcess[] = [];
  let web: Server;
  let federation: Federation;
  beforeAll(async () => {
    const [redisPort = 0, postgresPort = 0] = (await findFreePorts(2, "127.0.0.1", Math.random)) ?? [];
    web = startWebServer();
    await once(web, "listening");
    if (REDIS) children.push(startRedis(redisPort));
    if (POSTGRES !== undefined) children.push(startPostgres(POSTGRES, join(directory, "pg"), postgresPort));
    const bound = web.address();
    const webPort = typeof bound === "object" && bound !== null ? bound.port : 0;
    federation = await startFederation(
      documents([
        service("web", webPort, { appProtocol: "http" }),
        service("redis", redisPort, { protocol: "tcp" }),
        // Nothing is declared: PostgreSQL's clients speak first, and it is not HTTP.
        service("postgres", postgresPort, {}),
      ]),
    );
  });
  afterAll(async () => {
    await federation?.stop();
    web.closeAllConnections();
    web.close();
    for (const child of children) child.kill("SIGINT");
    const living = children.filter((child) => child.exitCode === null && child.signalCode === null);
    await Promise.all(living.map((child) => once(child, "exit")));
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });

  const at = (name: string): { host: string; port: string } => {
    const { host, port } = federation.address("web", `${name}.shop`);
    return { host, port: String(port) };
  };
  const url = (path: string): string => `http://${at("web").host}:${at("web").port}${path}`;

  it("curl: answers, headers, and two requests on one connection", async () => {
    const said = await run("curl", "-sS", "-i", url("/a"), url("/b"), "-w", "%{num_connects}\n");
    expect(said.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
    expect(said).toContain("GET /a");
    expect(said).toMatch(/GET \/b[^]*\n?0\n$/);
  });

  it("curl: a chunked upload of 5 MB that waits for 100 (Continue)", async () => {
    const body = join(directory, "body");
    await run("dd", "if=/dev/urandom", `of=${body}`, "bs=1M", "count=5", "status=none");
    const [sum = ""] = (await run("sha256sum", body)).split(" ");
    const curl = ["-sS", "-T", body, "-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"];
    expect(await run("curl", ...curl, url("/sum"))).toBe(sum);
  });

  it.skipIf(!has("wrk"))(`wrk: no request fails${because(has("wrk"), "no wrk")}`, async () => {
    const said = await run("wrk", "-t1", "-c16", "-d2s", url("/"));
    expect(said).toMatch(/[1-9]\d* requests in/);
    expect(said).not.toMatch(/Socket errors|Non-2xx/);
  });

  it("a WebSocket client: text, binary and a close in good order", async () => {
    const socket = new WebSocket(url("/echo").replace("http", "ws"));
    socket.binaryType = "arraybuffer";
    const received: unknown[] = [];
    socket.addEventListener("message", ({ data }) => received.push(data));
    await once(socket, "open");
    socket.send("hello");
    socket.send(new Uint8Array(100_000).fill(7));
    await until("both came back", 5_000, () => (received.length === 2 ? true : undefined));
    expect(received[0]).toBe("hello");
    expect(Buffer.from(received[1] as ArrayBuffer)).toEqual(Buffer.alloc(100_000, 7));
    const closed = once(socket, "close");
    socket.close(1000, "done");
    const [event] = (await closed) as [CloseEvent];
    expect(event).toMatchObject({ wasClean: true, code: 1000 });
  });

  describe.skipIf(!REDIS)(`redis-cli against redis-server${because(REDIS, "no redis-server")}`, () => {
    const redis = (...args: readonly string[]) =>
      run("redis-cli", "-h", at("redis").host, "-p", at("redis").port, ...args);

    it("sets, gets and pipes ten thousand commands", async () => {
      expect(await redis("set", "fruit", "apple")).toBe("OK\n");
      expect(await redis("get", "fruit")).toBe("apple\n");
      const script = `for i in $(seq 10000); do echo "SET key$i $i"; done | redis-cli -h ${at("redis").host} -p ${at("redis").port} --pipe`;
      expect(await run("sh", "-c", script)).toMatch(/errors: 0, replies: 10000/);
      expect(await redis("dbsize")).toBe("10001\n");
    });

    it("subscribes: the server speaks when it has something to say", async () => {
      const { host, port } = at("redis");
      const subscriber = spawn("redis-cli", ["-h", host, "-p", port, "subscribe", "news"]);
      let heard = "";
      subscriber.stdout.on("data", (chunk: Buffer) => (heard += chunk.toString()));
      await until("it is subscribed", 5_000, () => (heard.includes("subscribe") ? true : undefined));
      await redis("publish", "news", "it rains");
      await until("it heard", 5_000, () => (heard.includes("it rains") ? true : undefined));
      subscriber.kill();
      await once(subscriber, "exit");
    });
  });

  const postgres = `psql against PostgreSQL${because(POSTGRES, "no psql and postgres, or not root")}`;
  describe.skipIf(POSTGRES === undefined)(postgres, () => {
    const psql = async (sql: string): Promise<string> => {
      const { host, port } = at("postgres");
      return run("psql", "-h", host, "-p", port, "-U", "postgres", "-X", "-A", "-t", "-c", sql);
    };

    it("asks, is answered, and says what it speaks where nobody declared it", async () => {
      await until("it accepts", 20_000, () => psql("select 1").catch(() => undefined));
      expect(await psql("select sum(n) from generate_series(1, 100000) n")).toBe("5000050000\n");
      expect(await psql("select repeat('x', 2000000)")).toHaveLength(2_000_001);
      const status = await federation.isthmus("cluster", "status", "west", "-o", "json");
      expect(status.out).toContain("TCP (first bytes of no HTTP)");
    });

    it("waits twenty seconds for a slow answer: opaque connections have no clock", async () => {
      expect(await psql("select pg_sleep(20), 'awake'")).toBe("|awake\n");
    });
  });
});

/** Says what was asked; `/sum` answers the body's SHA-256; `/echo` is a WebSocket that returns what it gets. */
function startWebServer(): Server {
  const server = createServer((request, response) => {
    const sum = createHash("sha256");
    request.on("data", (chunk: Buffer) => sum.update(chunk));
    request.on("end", () =>
      response.end(request.url === "/sum" ? sum.digest("hex") : `GET ${request.url}\n`),
    );
  });
  server.on("upgrade", (request, socket) => {
    // RFC 6455 §4.2.2
    const accept = createHash("sha1")
      .update(`${request.headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
      .digest("base64");
    const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    socket.write(`${head}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    let pending: Buffer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => {
      pending = Buffer.concat([pending, chunk]);
      for (let frame = readFrame(pending); frame !== undefined; frame = readFrame(pending)) {
        pending = frame.rest;
        socket.write(writeFrame(frame.opcode, frame.payload));
        if (frame.opcode === 8) socket.end();
      }
    });
    socket.on("error", () => {});
  });
  return server.listen(0, "127.0.0.1");
}

/** A whole masked frame (RFC 6455 §5.2), or nothing yet. */
function readFrame(bytes: Buffer): { opcode: number; payload: Buffer; rest: Buffer } | undefined {
  if (bytes.length < 2) return undefined;
  const short = (bytes[1] ?? 0) & 0x7f;
  const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
  if (bytes.length < 6 + lengthBytes) return undefined;
  const length =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  const dataAt = 6 + lengthBytes;
  if (bytes.length < dataAt + length) return undefined;
  const mask = bytes.subarray(dataAt - 4, dataAt);
  const payload = bytes.subarray(dataAt, dataAt + length).map((byte, index) => byte ^ (mask[index % 4] ?? 0));
  return {
    opcode: (bytes[0] ?? 0) & 0x0f,
    payload: Buffer.from(payload),
    rest: bytes.subarray(dataAt + length),
  };
}

function writeFrame(opcode: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(payload.length < 126 ? 2 : payload.length < 65_536 ? 4 : 10);
  head[0] = 0x80 | opcode;
  head[1] = payload.length < 126 ? payload.length : head.length === 4 ? 126 : 127;
  if (head.length === 4) head.writeUInt16BE(payload.length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(payload.length), 2);
  return Buffer.concat([head, payload]);
}

function startRedis(port: number): ChildProcess {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  return spawn("redis-server", args, { stdio: "ignore" });
}

/** It refuses to run as root. */
function startPostgres(bin: string, directory: string, port: number): ChildProcess {
  // Without a process in between, so that a signal reaches the server itself.
  const user = ["--reuid=postgres", "--regid=postgres", "--init-groups"];
  const asPostgres = (...command: readonly string[]) => [...user, ...command];
  spawnSync("install", ["-d", "-o", "postgres", directory]);
  chmodSync(join(directory, ".."), 0o711);
  const made = spawnSync("setpriv", asPostgres(`${bin}/initdb`, "-D", directory, "-A", "trust", "-N"));
  if (made.status !== 0) throw new Error(String(made.stderr));
  const settings = ["-p", String(port), "-h", "127.0.0.1", "-k", directory, "-F"];
  return spawn("setpriv", asPostgres(`${bin}/postgres`, "-D", directory, ...settings), { stdio: "ignore" });
}
