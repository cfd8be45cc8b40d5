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

async function connected(sink: (text: string) => void): Promise<void> {
  socket.readTo({ bytes: (buffer, start, end) => sink(buffer.toString("latin1", start, end)) });
  socket.connect((server.address() as AddressInfo).port, "127.0.0.1");
  await Promise.all([once(socket, "connect"), once(server, "connection")]);
}

const WHOLE = Array.from({ length: PIECES }, (_, piece) => `${piece} `).join("");

describe("an endpoint that sends in small pieces", () => {
  it("has all of them handed on in order, in fewer reads, and its end too", async () => {
    let text = "";
    let reads = 0;
    await connected((more) => {
      text += more;
      reads += 1;
    });
    const ended = once(socket, "end");
    socket.resume();
    await trickle(PIECES);
    peer.end();
    await ended;
    expect(text).toBe(WHOLE);
    expect(reads).toBeLessThan(PIECES / 2);
  });

  it("waits for who can take no more, though a pause of the reading ends meanwhile", async () => {
    let text = "";
    let reads = 0;
    await connected((more) => {
      text += more;
      reads += 1;
      // The tenth is the first that a pause follows.
      if (reads === 10) socket.pause();
    });
    await trickle(PIECES);
    expect(reads).toBe(10);
    socket.resume();
    await until("the rest is there", 5_000, () => text === WHOLE || undefined);
  });

  it("may be destroyed in the middle of a pause", async () => {
    let reads = 0;
    await connected(() => {
      reads += 1;
      if (reads === 10) setImmediate(() => socket.destroy());
    });
    await trickle(PIECES);
    expect(reads).toBe(10);
  });
});
