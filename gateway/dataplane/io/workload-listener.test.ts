import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { entryEnvironment } from "../../../test/fakes/entry-environment.ts";
import { createMemoryLog, type MemoryLog } from "../../../test/fakes/memory-log.ts";
import { dialRaw, getRequest, type RawSocket } from "../../../test/fakes/raw-socket.ts";
import { CART, id } from "../../../test/fakes/rules.ts";
import { until } from "../../../test/fakes/until.ts";
import { Metrics } from "./counters.ts";
import { WorkloadListener } from "./workload-listener.ts";

const MAX_CONNECTIONS = 2;

describe("a workload listener without a way to its service", () => {
  let log: MemoryLog;
  let metrics: Metrics;
  let listener: WorkloadListener;
  let address: string;
  let clients: RawSocket[];
  let nowMs: number;
  beforeEach(async () => {
    nowMs = 0;
    log = createMemoryLog();
    metrics = new Metrics();
    clients = [];
    listener = new WorkloadListener(
      { caller: id("west/shop/web"), service: CART, port: 80 },
      { protocol: "http" },
      entryEnvironment({ log, metrics, now: () => nowMs }),
      { maxConnections: MAX_CONNECTIONS },
    );
    address = await listener.listen({ host: "127.0.0.1", port: 0 });
  });
  afterEach(() => {
    for (const client of clients) client.destroy();
    listener.close();
  });

  const dial = async () => {
    const client = await dialRaw(address);
    clients.push(client);
    return client;
  };

  const open = () => Number(/isthmus_open_connections\{[^}]*\} (\d+)/.exec(metrics.render())?.[1]);

  it("says that no gateway can be reached, and keeps the connection", async () => {
    const client = (await dial()).send(getRequest());
    await client.receives("HTTP/1.1 503 ");
    expect(client.text).toContain("isthmus-code: ISTH-3003");
    expect(client.text).toContain("retry-after: 1");
    client.forget();
    await client.send(getRequest()).receives("HTTP/1.1 503 ");
  });

  it("counts connections while they are open", async () => {
    const client = (await dial()).send(getRequest());
    await client.receives("503");
    expect(open()).toBe(1);
    client.socket.end();
    await until("it is closed", 2_000, () => (open() === 0 ? true : undefined));
  });

  it("leaves nothing of ours on a socket that has closed", async () => {
    const accepted: Socket[] = [];
    const front = createServer({ allowHalfOpen: true }, (socket) => {
      accepted.push(socket);
      listener.adopt(socket);
    });
    front.listen(0, "127.0.0.1");
    await once(front, "listening");
    const client = await dialRaw(`127.0.0.1:${(front.address() as AddressInfo).port}`);
    front.close();
    await client.send(getRequest()).receives("503");
    client.socket.end();
    await until("it is closed", 2_000, () => (open() === 0 ? true : undefined));
    expect(accepted.flatMap((socket) => socket.eventNames())).toEqual([]);
  });

  it("closes connections beyond its limit, and says so", async () => {
    for (let count = 0; count < MAX_CONNECTIONS; count++)
      await (await dial()).send(getRequest()).receives("503");
    await (await dial()).isGone();
    expect(log.of("refused").at(-1)).toMatchObject({ code: "ISTH-3007", caller: id("west/shop/web").uri });
    expect(open()).toBe(MAX_CONNECTIONS);
  });

  it("ends idle connections and accepts no more when it drains", async () => {
    const idle = (await dial()).send(getRequest());
    await idle.receives("503");
    idle.forget();
    nowMs += 2_000;
    const drained = listener.drain();
    await idle.isGone();
    expect(idle).toMatchObject({ text: "", ended: true, reset: false });
    idle.socket.end();
    await drained;
    expect((await dial()).closed).toBe(true);
  });

  it("leaves one that was answered a moment ago its next request, which may be under way", async () => {
    const client = (await dial()).send(getRequest());
    await client.receives("503");
    client.forget();
    const drained = listener.drain();
    nowMs += 1_000;
    await until("a tick", 3_000, () => (listener.coarseNow === nowMs ? true : undefined));
    expect(client.ended).toBe(false);
    await client.send(getRequest()).receives("503");
    expect(client.text).toContain("connection: close");
    await client.isGone();
    client.socket.end();
    await drained;
  });

  it("answers a request that was arriving when it began to drain, and closes then", async () => {
    const client = (await dial()).send("GET / HTTP/1.1\r\nHo");
    await until("it is accepted", 2_000, () => (open() === 1 ? true : undefined));
    const drained = listener.drain();
    const other = await dial();
    expect(other.closed).toBe(true);
    client.send("st: cart.shop\r\n\r\n");
    await client.isGone();
    expect(client.text).toMatch(/^HTTP\/1\.1 503 [^]*connection: close\r\n/);
    client.socket.end();
    await drained;
  });
});
