import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  GET,
  headersFrame,
  OK,
  pair,
  resetsOf,
  served,
  settle,
  Side,
} from "../../../test/fakes/http2-sides.ts";
import { ErrorCode } from "./error-code.ts";

describe("a connection of two sides", () => {
  it("carries requests, answers, bodies and trailers", () => {
    const { client, server } = pair();
    const asked = client.open();
    asked.stream!.write(Buffer.from("question"), 0, 8);
    asked.stream!.end();
    settle(client, server);
    const [got] = server.requests;
    expect([got!.heads, got!.body, got!.ended]).toEqual([[GET], "question", true]);
    got!.stream!.headers([":status", "103"], false);
    got!.stream!.headers(OK, false);
    got!.stream!.write(Buffer.from("answer"), 0, 6);
    got!.stream!.end(["grpc-status", "0"]);
    settle(client, server);
    expect(asked.heads).toEqual([[":status", "103"], OK]);
    expect([asked.body, asked.trailers, asked.ended, asked.closedWith]).toEqual([
      "answer",
      ["grpc-status", "0"],
      true,
      0,
    ]);
    expect([client.connection.streams, server.connection.streams, got!.closedWith]).toEqual([0, 0, 0]);
  });

  it("that drains takes what was sent before the peer heard of it, and nothing after", () => {
    const { client, server } = pair();
    const first = client.open(GET, true);
    settle(client, server);
    server.connection.announceDrain();
    // Under way when the announcement is.
    const crossing = client.open(GET, true);
    server.give(client.take());
    settle(client, server);
    expect([client.connection.takesStreams, server.requests.length]).toEqual([false, 2]);
    for (const { stream } of server.requests) stream!.headers(OK, true);
    settle(client, server);
    expect([first.ended, crossing.ended, server.connection.isDone]).toEqual([true, true, false]);
    server.connection.drain();
    server.give(headersFrame(9, GET));
    expect(resetsOf(server.take())).toEqual([[9, ErrorCode.refusedStream]]);
    expect(server.connection.isDone).toBe(true);
  });

  it("tells of a drain before those hear of it whose requests crossed it, since they ask again at once", () => {
    const { client, server } = pair();
    settle(client, server);
    server.connection.drain();
    const crossing = client.open(GET, true);
    const told: string[] = [];
    crossing.onClosed = ({ rstCode }) => void told.push(`closed with ${rstCode}`);
    client.goaway = () => void told.push("away");
    client.give(server.take());
    expect(told).toEqual(["away", `closed with ${ErrorCode.refusedStream}`]);
  });

  it("hands over what is here as a whole when its transport is gone, however late it is read", () => {
    const { client, server } = pair();
    const [whole, half] = [client.open(GET, true), client.open(GET, true)];
    settle(client, server);
    for (const asked of [whole, half]) asked.stream!.pause();
    for (const { stream } of server.requests) {
      stream!.headers(OK, false);
      stream!.write(Buffer.from("answer"), 0, 6);
    }
    server.requests[0]!.stream!.end(["grpc-status", "0"]);
    settle(client, server);
    client.connection.lost();
    client.take();
    expect([whole.closedWith, half.closedWith]).toEqual([undefined, ErrorCode.internalError]);
    whole.stream!.resume();
    client.take();
    expect([whole.body, whole.trailers, whole.ended, whole.closedWith]).toEqual([
      "answer",
      ["grpc-status", "0"],
      true,
      ErrorCode.noError,
    ]);
    expect([client.connection.streams, client.connection.queuedBytes]).toEqual([0, 0]);
  });

  it("says the same however its bytes are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 50 }), (lengths) => {
        let next = 0;
        const cut = (bytes: Buffer) => {
          const parts: Buffer[] = [];
          for (let at = 0; at < bytes.length; ) {
            const length = lengths[next++ % lengths.length]!;
            parts.push(bytes.subarray(at, at + length));
            at += length;
          }
          return parts;
        };
        const client = new Side("client");
        const server = new Side("server");
        settle(client, server, cut);
        const asked = client.open([...GET, "x-long", "v".repeat(300)]);
        asked.stream!.write(Buffer.from("q".repeat(500)), 0, 500);
        asked.stream!.end(["x-trailer", "t"]);
        settle(client, server, cut);
        expect(server.broken).toBeUndefined();
        expect([server.requests[0]!.body.length, server.requests[0]!.trailers]).toEqual([
          500,
          ["x-trailer", "t"],
        ]);
      }),
      { numRuns: 30 },
    );
  });

  it("carries any number of octets through small windows, in order, on streams that wait for each other", () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 30_000 }), (lengths, piece) => {
        const { client, server } = pair({ streamWindowBytes: 1_000, connectionWindowBytes: 65_535 });
        const sent = lengths.map((length, at) => Buffer.alloc(length, 97 + at));
        for (const bytes of sent) {
          const { stream } = client.open();
          for (let at = 0; at < bytes.length; at += piece)
            stream!.write(bytes, at, Math.min(bytes.length, at + piece));
          stream!.end();
        }
        settle(client, server);
        expect(server.requests.map(({ body, ended }) => [body, ended])).toEqual(
          sent.map((bytes) => [bytes.toString("latin1"), true]),
        );
      }),
      { numRuns: 15 },
    );
  });

  it("slows only the stream whose reader is slow, and holds no more than its window", () => {
    const { client, server } = pair({ connectionWindowBytes: 1024 * 1024 });
    const slow = client.open();
    const quick = client.open();
    settle(client, server);
    server.requests[0]!.stream!.pause();
    const bulk = Buffer.alloc(300_000, "s");
    expect(slow.stream!.write(bulk, 0, bulk.length)).toBe(false);
    quick.stream!.write(bulk, 0, bulk.length);
    settle(client, server);
    expect(server.requests.map(({ body }) => body.length)).toEqual([0, 300_000]);
    expect(server.connection.queuedBytes).toBe(65_535);
    expect([slow.drains, quick.drains]).toEqual([0, 1]);
    server.requests[0]!.stream!.resume();
    settle(client, server);
    expect([server.requests[0]!.body.length, slow.drains, server.connection.queuedBytes]).toEqual([
      300_000, 1, 0,
    ]);
  });

  it("delivers neither trailers nor the end to a reader that waits, and delivers it after the rest", () => {
    const { client, server } = pair();
    const asked = client.open();
    settle(client, server);
    const got = server.requests[0]!;
    got.stream!.pause();
    asked.stream!.write(Buffer.from("late"), 0, 4);
    asked.stream!.end(["x-last", "1"]);
    settle(client, server);
    expect([got.body, got.trailers, got.ended]).toEqual(["", undefined, false]);
    got.stream!.resume();
    settle(client, server);
    expect([got.body, got.trailers, got.ended]).toEqual(["late", ["x-last", "1"], true]);
  });

  it("opens no more streams than the peer allows, and refuses those beyond as not processed", () => {
    const { client, server } = pair({ maxStreams: 2 });
    client.open();
    client.open();
    expect(client.open().stream).toBeUndefined();
    const greedy = served({ maxStreams: 1 });
    greedy.give(Buffer.concat([headersFrame(1, GET), headersFrame(3, GET)]));
    expect(resetsOf(greedy.take())).toEqual([[3, ErrorCode.refusedStream]]);
    expect(server.broken).toBeUndefined();
  });

  it("drains: what is under way goes on, what comes too late is not processed", () => {
    const { client, server } = pair();
    const asked = client.open();
    settle(client, server);
    const late = client.open();
    const crossing = client.take();
    server.connection.drain();
    client.give(server.take());
    expect([client.wentAway, late.closedWith, client.connection.takesStreams]).toEqual([
      ErrorCode.noError,
      ErrorCode.refusedStream,
      false,
    ]);
    server.give(crossing);
    server.requests[0]!.stream!.headers(OK, true);
    asked.stream!.end();
    settle(client, server);
    expect([asked.closedWith, server.requests.length, server.connection.isDone]).toEqual([0, 1, true]);
  });

  it("tells a cut stream from a complete one at both ends", () => {
    const { client, server } = pair();
    const asked = client.open();
    settle(client, server);
    server.requests[0]!.stream!.headers(OK, false);
    server.requests[0]!.stream!.reset(ErrorCode.cancel);
    settle(client, server);
    expect([asked.ended, asked.closedWith, server.requests[0]!.closedWith]).toEqual([false, 8, 8]);
  });

  it("closes every stream when its transport is lost", () => {
    const { client } = pair();
    const asked = [client.open(), client.open()];
    client.connection.destroy(ErrorCode.internalError);
    client.take();
    expect(asked.map(({ closedWith }) => closedWith)).toEqual([2, 2]);
    expect(client.connection.streams).toBe(0);
  });

  it("answers PING, and passes an ALTSVC hint on", () => {
    const { client, server } = pair();
    const asked = client.open();
    client.connection.ping();
    settle(client, server);
    server.connection.altsvc(server.requests[0]!.stream!, "clear");
    settle(client, server);
    expect([client.pongs, asked.hint]).toEqual([1, "clear"]);
  });
});
