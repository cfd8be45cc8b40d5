import type { Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { entryEnvironment } from "../../../test/fakes/entry-environment.ts";
import { FakeSocket } from "../../../test/fakes/fake-socket.ts";
import { CART, id } from "../../../test/fakes/rules.ts";
import { parseResponseHead, type ResponseHead } from "../http1/response-head.ts";
import type { Waiter } from "./connection-queue.ts";
import { Entry } from "./entry.ts";
import { Http1Connection, type Http1Host } from "./http1-connection.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import type { Http1Stream } from "./http1-stream.ts";

const GET = "GET /a HTTP/1.1\r\nHost: cart.shop\r\n\r\n";
const LAST = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
const LONG = "POST /a HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 1000\r\n\r\n";
const OK = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");

const BODY = "x".repeat(1000);

/** A workload's connection, and an upstream stream that takes all of a request and answers when it is told to. */
function scene() {
  const socket = new FakeSocket();
  let exchange: Http1Exchange | undefined;
  const writable = { writableNeedDrain: false };
  const stream = {
    writable,
    begin: (begun: Http1Exchange) => void (exchange = begun),
    write: () => true,
    abort: () => {},
  } as unknown as Http1Stream;
  const state = { isFull: false };
  const host = {
    entry: new Entry({ caller: id("west/shop/web"), service: CART, port: 80 }, entryEnvironment()),
    poolOf: () => ({ take: () => (state.isFull ? undefined : stream), open: () => undefined }),
    coarseNow: 0,
    draining: false,
    stalledReaderMs: 0,
    forms: "origin",
  } as unknown as Http1Host;
  let waiter: Waiter | undefined;
  host.entry.whenAvailable = (_target, waiting) => void (waiter = waiting);
  const connection = new Http1Connection(socket as unknown as Socket, host);
  return {
    socket,
    writable,
    connection,
    host: host as { coarseNow: number },
    state,
    goOn: () => {
      state.isFull = false;
      return waiter?.tryAgain(true);
    },
    bytesUp: () => host.entry.counters.up.value,
    send: (text: string) => void socket.emit("data", Buffer.from(text, "latin1")),
    answer: () => {
      exchange?.writeResponse(200, OK, 0, OK.length);
      exchange?.responseDone();
    },
  };
}

function parsedHead(): ResponseHead {
  const outcome = parseResponseHead(OK, 0, OK.length, { method: "GET" });
  if (outcome.kind !== "head") throw new Error("no head");
  return outcome.head;
}

describe("a workload's HTTP/1.1 connection", () => {
  it("reads no more of a body while its stream takes no more", () => {
    const { writable, socket, send, connection } = scene();
    writable.writableNeedDrain = true;
    send(`${LONG}x`);
    expect(socket.isPaused).toBe(true);
    connection.resumeRequest();
    expect(socket.isPaused).toBe(false);
  });

  it("has no less time for its request because that waits for a connection", () => {
    const { socket, send, connection, host, state, goOn, answer } = scene();
    state.isFull = true;
    send(`${LONG}x`);
    expect(connection.deadlineMs).toBe(300_000);
    host.coarseNow = 20_000;
    expect([goOn(), connection.deadlineMs]).toEqual([false, 30_000]);
    send(BODY.slice(1));
    answer();
    expect(socket.written).toMatch(/^HTTP\/1\.1 200 /);
  });

  it("is not delayed by the kernel from its first answer on, if another may follow", () => {
    const { socket, send, answer } = scene();
    send(GET);
    expect(socket.sendsAtOnce).toBe(false);
    answer();
    expect(socket.sendsAtOnce).toBe(true);
  });

  it("is not delayed by the kernel while an answer comes in pieces", () => {
    const { socket, send, connection } = scene();
    send(LAST);
    connection.writeResponseHead(parsedHead());
    expect(socket.sendsAtOnce).toBe(true);
  });

  it("is let go at once after the answer to a client that said it sends no more", () => {
    const { socket, send, answer } = scene();
    send(LAST);
    answer();
    expect(socket.acts).toEqual(["destroy"]);
  });

  it("lingers where the kernel has not all of that answer yet", () => {
    const { socket, send, answer } = scene();
    socket.writableLength = 1;
    send(LAST);
    answer();
    expect(socket.acts).toEqual(["end"]);
  });

  it("neither reads nor counts what comes after the last answer", () => {
    const { socket, send, bytesUp } = scene();
    send("nonsense\r\n\r\n");
    const before = bytesUp();
    send(GET);
    expect(socket.written).toMatch(/^HTTP\/1\.1 400 /);
    expect([bytesUp(), socket.acts]).toEqual([before, ["end"]]);
  });
});
