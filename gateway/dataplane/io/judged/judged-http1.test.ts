import { describe, expect, it } from "vitest";
import { ok } from "../../../../federation/model/result.ts";
import { FakeSocket } from "../../../../test/fakes/fake-socket.ts";
import { IDLE_TIMEOUT_MS } from "../client-patience.ts";
import type { RelayEnd } from "../relay.ts";
import { JudgedHttp1, type JudgedHttp1Host } from "./judged-http1.ts";
import type { RequestRoute, Takeover } from "./judging-host.ts";
import type { Acquired, UpstreamExchange } from "./upstream-exchange.ts";

const POST = "POST /a HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 5\r\n\r\n";
const CONNECT = "CONNECT cart.shop:443 HTTP/1.1\r\nHost: cart.shop:443\r\n\r\n";
const REQUEST_MS = 30_000;

/** A client, and a far server that is told or asked to do what a case wants. */
function scene({ isReady = true, takeOver }: { isReady?: boolean } & Partial<Takeover> = {}) {
  const socket = new FakeSocket();
  let acquired: Acquired | undefined;
  let body = "";
  const upstream = {
    reused: false,
    keepsChunks: true,
    needsDrain: false,
    begin: () => {},
    write: (bytes: Buffer, from: number, to: number) => ((body += bytes.toString("latin1", from, to)), true),
    end: () => {},
    abort: () => {},
  };
  const exchange = upstream as unknown as UpstreamExchange;
  const pool = {
    take: () => (isReady ? exchange : undefined),
    acquire: (_http1: boolean, done: Acquired) => void (acquired = done),
  };
  const route: RequestRoute = { pool, head: "", requestMs: REQUEST_MS };
  const host = {
    coarseNow: 0,
    draining: false,
    stalledReaderMs: 0,
    forms: "proxy",
    counters: { up: { value: 0 }, down: { value: 0 } },
    route: () => (takeOver === undefined ? route : { takeOver }),
    begun: () => {},
    refused: () => {},
    answered: () => {},
    closed: () => {},
  } as unknown as JudgedHttp1Host;
  const judged = new JudgedHttp1(socket as unknown as RelayEnd, host);
  return {
    socket,
    upstream,
    judged,
    body: () => body,
    send: (text: string) => void socket.emit("data", Buffer.from(text, "latin1")),
    acquire: () => acquired?.(ok(exchange)),
  };
}

describe("a judged HTTP/1.1 connection", () => {
  it("gives the far server as long as its route says, and an idle client as long as any", () => {
    const { judged, send } = scene();
    expect(judged.deadlineMs).toBe(IDLE_TIMEOUT_MS);
    send(`${POST}hello`);
    expect(judged.deadlineMs).toBe(REQUEST_MS);
  });

  it("reads no more of a body while the far server takes no more", () => {
    const { upstream, socket, send, judged } = scene();
    upstream.needsDrain = true;
    send(`${POST}hel`);
    expect(socket.isPaused).toBe(true);
    judged.resumeRequest();
    expect(socket.isPaused).toBe(false);
  });

  it("keeps the body until there is a way to the far server", () => {
    const { socket, send, body, acquire } = scene({ isReady: false });
    send(`${POST}hello`);
    expect([body(), socket.isPaused]).toEqual(["", true]);
    acquire();
    expect([body(), socket.isPaused]).toEqual(["hello", false]);
  });

  it("leaves what follows a CONNECT, and the socket as it is left, to who takes over", () => {
    const taken: string[] = [];
    const { socket, send } = scene({
      takeOver: (end, early) => {
        taken.push(early.toString());
        end.on("data", (chunk: Buffer) => taken.push(chunk.toString()));
        end.resume();
      },
    });
    send(`${CONNECT}early`);
    send("later");
    expect([taken, socket.isPaused]).toEqual([["early", "later"], false]);
  });
});
