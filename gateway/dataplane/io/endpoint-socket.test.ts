import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "../../../test/fakes/until.ts";
import { EndpointSocket } from "./endpoint-socket.ts";

/** A clock that stands still: everything is one run, and its pauses end after so many turns of the event loop. */
const NOW = (): number => 1_000;
const PIECES = 200;

let server: Server;
let peer: Socket;
let socket: EndpointSocket;

/** Piece after piece, each in a turn of its own. */
async function trickle(count: number): Promise<void> {
  for (let piece = 0; piece < count; piece++) {
    peer.write(`${piece} `);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

beforeEach(async () => {
  server = createServer({ noDelay: true }, (accepted) => {
    // One that is destroyed resets its connection.
    peer = accepted.on("error", () => {});
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  socket = new EndpointSocket(NOW);
});

afterEach(() => {
  socket.destroy();
  peer.destroy();
  server.close();
});

/** What was handed on so far, and in how many reads; `onRead` is called after each. */
async function connected(
  onRead: (reads: number) => void = () => {},
): Promise<{ text: string; reads: number }> {
  const got = { text: "", reads: 0 };
  socket.readTo({
    bytes(buffer, start, end) {
      got.text += buffer.toString("latin1", start, end);
      got.reads += 1;
      onRead(got.reads);
    },
  });
  socket.connect((server.address() as AddressInfo).port, "127.0.0.1");
  await Promise.all([once(socket, "connect"), once(server, "connection")]);
  return got;
}

const WHOLE = Array.from({ length: PIECES }, (_, piece) => `${piece} `).join("");

describe("an endpoint that sends in small pieces", () => {
  it("has all of them handed on in order, in fewer reads, and its end too", async () => {
    const got = await connected();
    const ended = once(socket, "end");
    socket.resume();
    await trickle(PIECES);
    peer.end();
    await ended;
    expect(got.text).toBe(WHOLE);
    expect(got.reads).toBeLessThan(PIECES / 2);
  });

  it("waits for who can take no more, though a pause of the reading ends meanwhile", async () => {
    const got = await connected((reads) => {
      // The tenth is the first that a pause follows.
      if (reads === 10) socket.pause();
    });
    await trickle(PIECES);
    expect(got.reads).toBe(10);
    socket.resume();
    await until("the rest is there", 5_000, () => got.text === WHOLE || undefined);
  });

  it("may be destroyed in the middle of a pause", async () => {
    const got = await connected((reads) => {
      if (reads === 10) setImmediate(() => socket.destroy());
    });
    await trickle(PIECES);
    expect(got.reads).toBe(10);
  });
});
