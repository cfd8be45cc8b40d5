// Longer than other files: one table of what is refused, and with which code.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frame } from "../../../test/fakes/h2-frames.ts";
import {
  block,
  framesOf,
  GET,
  goawayOf,
  headersFrame,
  OK,
  resetsOf,
  served,
  Side,
  uint32,
} from "../../../test/fakes/http2-sides.ts";
import { ErrorCode } from "./error-code.ts";
import { Flag, FrameType, PREFACE } from "./frame.ts";

describe("a peer that breaks the protocol", () => {
  const DATA_1 = frame(FrameType.data, 0, 1, Buffer.from("x"));
  const FAULTS: readonly (readonly [what: string, bytes: Buffer, code: number])[] = [
    [
      "a frame beyond the size allowed",
      frame(FrameType.ping, 0, 0, Buffer.alloc(20_000)),
      ErrorCode.frameSizeError,
    ],
    ["DATA of the connection", frame(FrameType.data, 0, 0), ErrorCode.protocolError],
    ["DATA of an idle stream", frame(FrameType.data, 0, 5), ErrorCode.protocolError],
    [
      "DATA shorter than its padding",
      frame(FrameType.data, Flag.padded, 1, Buffer.of(9, 1)),
      ErrorCode.protocolError,
    ],
    ["DATA without its padding's length", frame(FrameType.data, Flag.padded, 1), ErrorCode.frameSizeError],
    ["HEADERS of the connection", headersFrame(0, GET), ErrorCode.protocolError],
    ["HEADERS of an even stream", headersFrame(2, GET), ErrorCode.protocolError],
    [
      "HEADERS shorter than their padding",
      frame(FrameType.headers, Flag.endHeaders | Flag.padded, 3, Buffer.of(200, 0x82)),
      ErrorCode.protocolError,
    ],
    [
      "a stream that depends on itself",
      frame(
        FrameType.headers,
        Flag.endHeaders | Flag.priority,
        3,
        Buffer.concat([uint32(3), Buffer.of(1), block(GET)]),
      ),
      ErrorCode.protocolError,
    ],
    [
      "a block that cannot be decoded",
      frame(FrameType.headers, Flag.endHeaders, 3, Buffer.of(0x80)),
      ErrorCode.compressionError,
    ],
    ["CONTINUATION of nothing", frame(FrameType.continuation, 0, 1), ErrorCode.protocolError],
    [
      "a block that another frame interrupts",
      Buffer.concat([frame(FrameType.headers, 0, 3, block(GET)), DATA_1]),
      ErrorCode.protocolError,
    ],
    [
      "CONTINUATION of another stream",
      Buffer.concat([frame(FrameType.headers, 0, 3), frame(FrameType.continuation, Flag.endHeaders, 5)]),
      ErrorCode.protocolError,
    ],
    ["RST_STREAM of an idle stream", frame(FrameType.rstStream, 0, 9, uint32(8)), ErrorCode.protocolError],
    ["RST_STREAM of 3 octets", frame(FrameType.rstStream, 0, 1, Buffer.alloc(3)), ErrorCode.frameSizeError],
    ["SETTINGS of a stream", frame(FrameType.settings, 0, 1), ErrorCode.protocolError],
    ["SETTINGS of 5 octets", frame(FrameType.settings, 0, 0, Buffer.alloc(5)), ErrorCode.frameSizeError],
    [
      "an acknowledgement with a payload",
      frame(FrameType.settings, Flag.ack, 0, Buffer.alloc(6)),
      ErrorCode.frameSizeError,
    ],
    [
      "an initial window beyond 2^31-1",
      frame(FrameType.settings, 0, 0, setting(4, 0x8000_0000)),
      ErrorCode.flowControlError,
    ],
    [
      "a frame size that cannot be",
      frame(FrameType.settings, 0, 0, setting(5, 100)),
      ErrorCode.protocolError,
    ],
    ["ENABLE_PUSH of 2", frame(FrameType.settings, 0, 0, setting(2, 2)), ErrorCode.protocolError],
    ["PUSH_PROMISE", frame(FrameType.pushPromise, 0, 1, uint32(2)), ErrorCode.protocolError],
    ["PING of a stream", frame(FrameType.ping, 0, 1, Buffer.alloc(8)), ErrorCode.protocolError],
    ["PING of 6 octets", frame(FrameType.ping, 0, 0, Buffer.alloc(6)), ErrorCode.frameSizeError],
    ["GOAWAY of a stream", frame(FrameType.goaway, 0, 1, Buffer.alloc(8)), ErrorCode.protocolError],
    ["GOAWAY of 4 octets", frame(FrameType.goaway, 0, 0, uint32(0)), ErrorCode.frameSizeError],
    ["PRIORITY of 4 octets", frame(FrameType.priority, 0, 1, uint32(0)), ErrorCode.frameSizeError],
    ["PRIORITY of the connection", frame(FrameType.priority, 0, 0, Buffer.alloc(5)), ErrorCode.protocolError],
    [
      "PRIORITY of a stream that depends on itself",
      frame(FrameType.priority, 0, 1, Buffer.concat([uint32(1), Buffer.of(15)])),
      ErrorCode.protocolError,
    ],
    [
      "WINDOW_UPDATE of 0 for the connection",
      frame(FrameType.windowUpdate, 0, 0, uint32(0)),
      ErrorCode.protocolError,
    ],
    [
      "WINDOW_UPDATE of 3 octets",
      frame(FrameType.windowUpdate, 0, 1, Buffer.alloc(3)),
      ErrorCode.frameSizeError,
    ],
    [
      "WINDOW_UPDATE of an idle stream",
      frame(FrameType.windowUpdate, 0, 9, uint32(9)),
      ErrorCode.protocolError,
    ],
    [
      "a connection's window beyond 2^31-1",
      frame(FrameType.windowUpdate, 0, 0, uint32(0x7fff_ffff)),
      ErrorCode.flowControlError,
    ],
  ];

  it.each(FAULTS)("by %s ends the connection", (_what, bytes, code) => {
    const server = served();
    server.give(headersFrame(1, GET));
    server.take();
    server.give(bytes);
    expect(server.broken?.code).toBe(code);
    expect(goawayOf(server.take())).toBe(code);
    expect([server.requests[0]!.closedWith, server.connection.streams]).toEqual([code, 0]);
    server.give(frame(FrameType.ping, 0, 0, Buffer.alloc(8)));
    expect(server.take()).toHaveLength(0);
  });

  function setting(id: number, value: number): Buffer {
    return Buffer.concat([Buffer.of(0, id), uint32(value)]);
  }

  const open = headersFrame(1, GET);
  const RESETS: readonly (readonly [what: string, bytes: readonly Buffer[], code: number])[] = [
    ["no :path", [headersFrame(1, [":method", "GET", ":scheme", "http"])], ErrorCode.protocolError],
    [
      "an empty :path",
      [headersFrame(1, [":method", "GET", ":scheme", "http", ":path", ""])],
      ErrorCode.protocolError,
    ],
    ["two :paths", [headersFrame(1, [...GET, ":path", "/b"])], ErrorCode.protocolError],
    ["an unknown pseudo-header field", [headersFrame(1, [":debug", "1", ...GET])], ErrorCode.protocolError],
    [":status in a request", [headersFrame(1, [...GET, ":status", "200"])], ErrorCode.protocolError],
    ["a pseudo-header field after others", [headersFrame(1, ["a", "b", ...GET])], ErrorCode.protocolError],
    [
      "CONNECT with a :path",
      [headersFrame(1, [":method", "CONNECT", ":authority", "a:1", ":path", "/"])],
      ErrorCode.protocolError,
    ],
    ["CONNECT to nowhere", [headersFrame(1, [":method", "CONNECT"])], ErrorCode.protocolError],
    ["an upper-case name", [headersFrame(1, [...GET, "X-A", "b"])], ErrorCode.protocolError],
    ["a line feed in a value", [headersFrame(1, [...GET, "x-a", "b\nc"])], ErrorCode.protocolError],
    ["connection", [headersFrame(1, [...GET, "connection", "close"])], ErrorCode.protocolError],
    [
      "transfer-encoding",
      [headersFrame(1, [...GET, "transfer-encoding", "chunked"])],
      ErrorCode.protocolError,
    ],
    ["te: gzip", [headersFrame(1, [...GET, "te", "gzip"])], ErrorCode.protocolError],
    [
      "two lengths",
      [headersFrame(1, [...GET, "content-length", "1", "content-length", "2"])],
      ErrorCode.protocolError,
    ],
    [
      "a length that is no number",
      [headersFrame(1, [...GET, "content-length", "+1"])],
      ErrorCode.protocolError,
    ],
    [
      "a length and no content",
      [headersFrame(1, [...GET, "content-length", "1"], Flag.endStream)],
      ErrorCode.protocolError,
    ],
    [
      "content beyond its length",
      [headersFrame(1, [...GET, "content-length", "1"]), frame(FrameType.data, 0, 1, Buffer.from("xx"))],
      ErrorCode.protocolError,
    ],
    [
      "content short of its length",
      [
        headersFrame(1, [...GET, "content-length", "3"]),
        frame(FrameType.data, Flag.endStream, 1, Buffer.from("xx")),
      ],
      ErrorCode.protocolError,
    ],
    [
      "DATA after its end",
      [headersFrame(1, GET, Flag.endStream), frame(FrameType.data, 0, 1)],
      ErrorCode.streamClosed,
    ],
    ["trailers that do not end", [open, headersFrame(1, ["x-a", "b"])], ErrorCode.protocolError],
    [
      "trailers with a pseudo-header field",
      [open, headersFrame(1, [":path", "/b"], Flag.endStream)],
      ErrorCode.protocolError,
    ],
    [
      "trailers that redefine the length",
      [open, headersFrame(1, ["content-length", "9"], Flag.endStream)],
      ErrorCode.protocolError,
    ],
    ["a window update of 0", [open, frame(FrameType.windowUpdate, 0, 1, uint32(0))], ErrorCode.protocolError],
    [
      "a window beyond 2^31-1",
      [open, frame(FrameType.windowUpdate, 0, 1, uint32(0x7fff_ffff))],
      ErrorCode.flowControlError,
    ],
  ];

  it.each(RESETS)("by %s loses that stream, is counted, and keeps the others", (_what, frames, code) => {
    const server = served();
    for (const bytes of frames) server.give(bytes);
    expect(resetsOf(server.take())).toEqual([[1, code]]);
    expect(server.notices.filter((notice) => notice === "stream-error")).toHaveLength(1);
    server.give(headersFrame(3, GET, Flag.endStream));
    expect(server.broken).toBeUndefined();
    expect(server.requests.at(-1)!.ended).toBe(true);
  });

  it("by DATA beyond a stream's window loses that stream, beyond the connection's everything", () => {
    const server = served({ streamWindowBytes: 100 });
    server.give(Buffer.concat([open, frame(FrameType.data, 0, 1, Buffer.alloc(101))]));
    expect(resetsOf(server.take())).toEqual([[1, ErrorCode.flowControlError]]);
    const full = served({ connectionWindowBytes: 65_535, streamWindowBytes: 1 << 20, maxQueuedBytes: 0 });
    full.give(open);
    full.requests[0]!.stream!.pause();
    for (let count = 0; count < 5; count++) full.give(frame(FrameType.data, 0, 1, Buffer.alloc(16_000)));
    expect(full.broken?.code).toBe(ErrorCode.flowControlError);
  });

  it("gives the connection's window back for streams that are gone", () => {
    const server = served({ connectionWindowBytes: 65_535 });
    server.give(open);
    server.requests[0]!.stream!.reset(ErrorCode.cancel);
    for (let count = 0; count < 100; count++) {
      server.give(frame(FrameType.data, 0, 1, Buffer.alloc(10_000)));
      server.take();
    }
    expect([server.broken, server.notices.includes("stream-error")]).toEqual([undefined, false]);
  });

  it("by a header block without end is cut (CONTINUATION flood)", () => {
    const server = served();
    server.give(frame(FrameType.headers, 0, 1, block(GET)));
    for (let count = 0; count < 40; count++) server.give(frame(FrameType.continuation, 0, 1));
    expect(server.broken?.code).toBe(ErrorCode.enhanceYourCalm);
  });

  it("by never reading its answers is cut", () => {
    const server = served();
    for (let count = 0; count < 300_000 && server.broken === undefined; count++) {
      server.give(frame(FrameType.ping, 0, 0, Buffer.alloc(8)));
      if (count % 1_000 === 0) server.connection.flush();
    }
    expect(server.broken?.code).toBe(ErrorCode.enhanceYourCalm);
  });

  it.each([
    ["no preface", Buffer.from("GET / HTTP/1.1\r\n\r\n")],
    ["no SETTINGS after it", Buffer.concat([PREFACE, frame(FrameType.ping, 0, 0, Buffer.alloc(8))])],
    ["an acknowledgement first", Buffer.concat([PREFACE, frame(FrameType.settings, Flag.ack, 0)])],
  ])("by %s is cut", (_what, bytes) => {
    const server = new Side("server");
    server.give(bytes);
    expect(server.broken?.code).toBe(ErrorCode.protocolError);
  });

  it("by what costs without use is noticed each time", () => {
    const server = served();
    server.notices.length = 0;
    server.give(open);
    server.give(frame(FrameType.data, 0, 1));
    server.give(frame(FrameType.priority, 0, 7, Buffer.alloc(5)));
    server.give(frame(0xbe, 0, 0));
    server.give(frame(FrameType.windowUpdate, 0, 1, uint32(1)));
    server.give(frame(FrameType.ping, 0, 0, Buffer.alloc(8)));
    server.give(frame(FrameType.settings, 0, 0));
    server.give(frame(FrameType.rstStream, 0, 1, uint32(8)));
    const idle = "idle-frame";
    expect(server.notices).toEqual([idle, idle, idle, idle, "control", "control", "peer-reset"]);
  });

  it("by PING is noticed otherwise where it follows DATA of ours, by which gRPC measures the way", () => {
    const server = served();
    server.give(open);
    server.notices.length = 0;
    const ping = frame(FrameType.ping, 0, 0, Buffer.alloc(8));
    const asked = server.requests[0]?.stream;
    asked?.headers(OK, false);
    asked?.write(Buffer.from("xx"), 0, 1);
    asked?.write(Buffer.from("xx"), 1, 2);
    server.give(ping);
    server.give(ping);
    asked?.end();
    server.give(ping);
    expect(server.notices).toEqual(["measuring-ping", "control", "measuring-ping"]);
  });

  it("survives any frames, and lets go of everything in the end", () => {
    const anyFrame = fc
      .tuple(
        fc.integer({ min: 0, max: 11 }),
        fc.integer({ min: 0, max: 255 }),
        fc.integer({ min: 0, max: 8 }),
        fc.oneof(fc.uint8Array({ maxLength: 30 }), fc.constant(new Uint8Array(block(GET)))),
      )
      .map(([type, flags, stream, payload]) => frame(type, flags, stream, Buffer.from(payload)));
    fc.assert(
      fc.property(fc.array(anyFrame, { maxLength: 40 }), (frames) => {
        const server = served();
        for (const bytes of frames) {
          server.give(bytes);
          framesOf(server.take());
        }
        server.connection.destroy(ErrorCode.internalError);
        server.take();
        expect([server.connection.streams, server.connection.queuedBytes]).toEqual([0, 0]);
        expect(server.requests.every(({ closedWith }) => closedWith !== undefined)).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe("an answer that breaks the protocol", () => {
  it.each([
    ["no :status", ["x-a", "b"]],
    [":status that is none", [":status", "ok"]],
    ["a request's field", [":status", "200", ":path", "/"]],
    ["connection", [":status", "200", "connection", "close"]],
  ])("by %s loses its stream", (_what, fields) => {
    const client = new Side("client");
    client.give(frame(FrameType.settings, 0, 0));
    const asked = client.open();
    client.take();
    client.give(headersFrame(1, fields));
    expect(resetsOf(client.take())).toEqual([[1, ErrorCode.protocolError]]);
    expect(asked.closedWith).toBe(ErrorCode.protocolError);
  });

  it("by more fields than are taken loses its stream, which says so", () => {
    const client = new Side("client");
    client.give(frame(FrameType.settings, 0, 0));
    const asked = client.open();
    client.take();
    client.give(headersFrame(1, [...OK, ...Array.from({ length: 100 }, (_, at) => `x-${at}`)]));
    expect(resetsOf(client.take())).toEqual([[1, ErrorCode.protocolError]]);
    expect(asked.stream?.fault).toBe("more than 50 fields or 8192 bytes of them");
  });

  it("by content before its head loses its stream, by a stream of its own everything", () => {
    const client = new Side("client");
    client.give(frame(FrameType.settings, 0, 0));
    client.open();
    client.take();
    client.give(frame(FrameType.data, 0, 1, Buffer.from("x")));
    expect(resetsOf(client.take())).toEqual([[1, ErrorCode.protocolError]]);
    client.give(headersFrame(2, GET));
    expect(client.broken?.code).toBe(ErrorCode.protocolError);
  });
});
