import { once } from "node:events";
import { createServer as createHttp, type Server as HttpServer } from "node:http";
import { connect as connectHttp2, createServer as createHttp2 } from "node:http2";
import net, { type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createLogger } from "../../../federation/model/log.ts";
import type { SnapshotAuthorization } from "../../../federation/model/snapshot.ts";
import { type TrustDomain, workloadSpiffeId } from "../../../federation/model/spiffe-id.ts";
import { createWatch } from "../lifecycle/watch.ts";
import { AuthorizationTable } from "../policy/authorization-table.ts";
import type { RouteTables } from "../routing/tables.ts";
import { Arrivals } from "./arrivals.ts";
import { Metrics } from "./counters.ts";
import { EventLog } from "./event-log.ts";

const CALLER = workloadSpiffeId("west.test.mesh" as TrustDomain, "shop", "web");
const open: { close(): unknown }[] = [];
afterEach(() => {
  for (const one of open.splice(0)) one.close();
});

const NO_POST: Partial<SnapshotAuthorization> = { action: "deny", to: [{ methods: ["POST"] }] };
const tablesOf = (...policies: readonly Partial<SnapshotAuthorization>[]): RouteTables => {
  const whole = policies.map((policy, index) => ({
    name: `shop/p${index}`,
    namespace: "shop",
    services: [],
    ports: [],
    action: "allow" as const,
    mode: "enforce" as const,
    ...policy,
  }));
  return { authorization: new AuthorizationTable(whole) } as unknown as RouteTables;
};

/** What stands before an endpoint: a port whose connections are joined with the endpoint's as a permitted stream's are. */
async function arrive(endpoint: number, mode: "observe" | "enforce", tables: RouteTables) {
  const current = createWatch<RouteTables | undefined>(tables);
  const metrics = new Metrics();
  const lines: string[] = [];
  const events = new EventLog(
    createLogger((line) => lines.push(line), Date.now, "info", {}),
    Date.now,
  );
  const arrivals = new Arrivals({ tables: current, metrics, events, now: Date.now });
  const arrival = { service: { namespace: "shop", name: "cart" }, port: 80, caller: CALLER, labels: {} };
  const counters = { up: { value: 0 }, down: { value: 0 } };
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (asking) => {
    const far = net.connect({ host: "127.0.0.1", port: endpoint, allowHalfOpen: true });
    for (const end of [asking, far]) end.on("error", () => {});
    // As for an endpoint that does not accept, which is refused before anything is joined.
    far.once("close", () => void (far.bytesRead === 0 && asking.destroy()));
    far.once("connect", () => {
      arrivals.join(arrival, mode)(asking, far, counters);
      asking.resume();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(server);
  return { port: portOf(server), publish: current.publish, metrics, lines, counters };
}

const portOf = (server: Pick<Server, "address">): number => (server.address() as AddressInfo).port;

async function listening<S extends Server | HttpServer>(server: S): Promise<S> {
  server.on("connection", (socket) => socket.on("error", () => {}));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push(server);
  return server;
}

const echoHttp = () =>
  listening(
    createHttp((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () =>
        response.end(`${request.method} ${request.url} ${Buffer.concat(chunks).length}`),
      );
    }),
  );

const dial = async (port: number): Promise<Socket> => {
  const socket = net.connect({ host: "127.0.0.1", port });
  socket.on("error", () => {});
  await once(socket, "connect");
  open.push({ close: () => socket.destroy() });
  return socket;
};

const closed = (socket: Socket): Promise<unknown> =>
  new Promise((resolve) => socket.resume().once("close", resolve));

/** Everything until `needle` was seen as often. */
const readUntil = (socket: Socket, needle: RegExp, times = 1): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = "";
    socket.on("data", (chunk) => {
      text += String(chunk);
      if ((text.match(new RegExp(needle, "g")) ?? []).length >= times) resolve(text);
    });
    socket.once("close", () => reject(new Error(`closed after ${JSON.stringify(text)}`)));
  });

describe("calls whose requests are judged where they arrive", () => {
  it("pass request by request on one connection, pipelined ones too, each with its own answer", async () => {
    const { port } = await arrive(portOf(await echoHttp()), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    const read = readUntil(socket, /GET \/3 0/);
    socket.write(
      "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nPOST /2 HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    const text = await read;
    expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 403", "HTTP/1.1 200"]);
    expect(text).toContain("ISTH-2006");
  });

  it("are joined to nothing that is no HTTP, where a rule is in force", async () => {
    const reached: string[] = [];
    const plain = await listening(
      net.createServer((socket) => socket.on("data", (chunk) => reached.push(String(chunk)))),
    );
    const { port, lines } = await arrive(portOf(plain), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    socket.write("PING\r\nPING\r\n");
    await closed(socket);
    expect(reached).toEqual([]);
    expect(lines.join()).toContain("ISTH-2006");
  });

  it("pass what is no HTTP where the rule only observes, and are counted", async () => {
    const plain = await listening(net.createServer((socket) => socket.pipe(socket)));
    const observing = tablesOf({ ...NO_POST, mode: "observe" });
    const { port, metrics } = await arrive(portOf(plain), "observe", observing);
    const socket = await dial(port);
    const read = readUntil(socket, /PING/);
    socket.write("PING\r\n");
    expect(await read).toBe("PING\r\n");
    expect(metrics.render()).toMatch(/isthmus_authorization_observed_denials_total(?:\{[^}]*\})? 1/);
  });

  it("hear a server that speaks first, where the rule only observes", async () => {
    const greeting = await listening(net.createServer((socket) => socket.end("220 ready\r\n")));
    const { port } = await arrive(portOf(greeting), "observe", tablesOf({ ...NO_POST, mode: "observe" }));
    expect(await readUntil(await dial(port), /220 ready/)).toBe("220 ready\r\n");
  });

  it("leave nobody waiting when the endpoint ends before anything was asked", async () => {
    const closing = await listening(net.createServer((socket) => socket.resetAndDestroy()));
    const { port } = await arrive(portOf(closing), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await closed(socket);
  });

  it("close quietly for whoever only looks whether somebody listens", async () => {
    const { port, lines } = await arrive(portOf(await echoHttp()), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    socket.end();
    await closed(socket);
    expect(lines).toEqual([]);
  });

  it("break off where the endpoint does, so that the hop before may try elsewhere", async () => {
    const breaking = await listening(createHttp((request) => request.socket.resetAndDestroy()));
    const { port } = await arrive(portOf(breaking), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await expect(readUntil(socket, /HTTP/)).rejects.toThrow('closed after ""');
  });

  it("end a request under way that a new rule forbids, and serve the next", async () => {
    const asked: string[] = [];
    const slow = await listening(
      createHttp((request, response) => {
        asked.push(request.url ?? "");
        if (request.url !== "/slow") response.end("quick");
      }),
    );
    const { port, publish } = await arrive(portOf(slow), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    const read = readUntil(socket, /ISTH-2006/);
    socket.write("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    while (asked.length === 0) await new Promise((resolve) => setImmediate(resolve));
    publish(tablesOf({ action: "deny", to: [{ paths: [{ type: "Exact", value: "/slow" }] }] }));
    expect(await read).toMatch(/^HTTP\/1\.1 403/);
  });

  it("go both ways after an upgrade", async () => {
    const server = await echoHttp();
    server.on("upgrade", (_request, socket: Socket) => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n");
      socket.pipe(socket);
    });
    const { port } = await arrive(portOf(server), "enforce", tablesOf(NO_POST));
    const socket = await dial(port);
    const upgraded = readUntil(socket, /101 Switching/);
    socket.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    await upgraded;
    const echoed = readUntil(socket, /hello/);
    socket.write("hello");
    expect(await echoed).toContain("hello");
  });

  it("judge each stream of HTTP/2 by itself, and carry trailers", async () => {
    const server = createHttp2();
    server.on("stream", (stream, headers) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(`${headers[":method"]} ${headers[":path"]}`);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    open.push(server);
    const { port } = await arrive(portOf(server), "enforce", tablesOf(NO_POST));
    const client = connectHttp2(`http://127.0.0.1:${port}`);
    open.push({ close: () => client.destroy() });
    const ask = (method: string, extra: Record<string, string> = {}) =>
      new Promise<string>((resolve, reject) => {
        const stream = client.request({ ":method": method, ":path": "/a", ...extra }, { endStream: false });
        let text = "";
        let trailers = "";
        stream.on("response", (headers) => {
          text = `${String(headers[":status"])} ${String(headers["grpc-status"] ?? "")} `;
        });
        stream.on("trailers", (fields) => {
          trailers = ` grpc-status=${String(fields["grpc-status"])}`;
        });
        stream.setEncoding("utf8");
        stream.on("data", (chunk: string) => (text += chunk));
        stream.on("end", () => resolve(text + trailers));
        stream.on("error", reject);
        stream.end("body");
      });
    const [get, post, grpc, put] = await Promise.all([
      ask("GET"),
      ask("POST"),
      ask("POST", { "content-type": "application/grpc" }),
      ask("PUT"),
    ]);
    expect(get).toBe("200  GET /a grpc-status=0");
    expect(put).toBe("200  PUT /a grpc-status=0");
    expect(post).toMatch(/^403 .*ISTH-2006/);
    expect(grpc).toMatch(/^200 7 /);
  });
});
