// Longer than other files: one table, a row for each thing that RFC 9113 and RFC 7541 ask of a server.
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ErrorCode } from "../../gateway/dataplane/http2/error-code.ts";
import { Flag, FrameType, PREFACE } from "../../gateway/dataplane/http2/frame.ts";
import { frame } from "../fakes/h2-frames.ts";
import { block, framesOf, GET, headersFrame, uint32, wholeFrames } from "../fakes/http2-sides.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { dialRaw, type RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

/**
 * What tools such as h2spec ask of a server, over the real listener of a workload, with frames made by hand: each case, and the error
 * code that the RFC wants. A fault of the connection says GOAWAY with the code and closes; a fault of a stream resets that stream and
 * the next request is answered.
 */
type Wanted =
  | { readonly goaway: readonly number[] }
  | { readonly reset: readonly number[]; readonly stream?: number }
  | { readonly answered: readonly number[] }
  | { readonly frame: (frames: Frames) => boolean };
type Frames = ReturnType<typeof framesOf>;
type Row = readonly [section: string, what: string, bytes: readonly Buffer[], wanted: Wanted];

const E = ErrorCode;
const END = Flag.endStream;
const get = (stream: number): Buffer => headersFrame(stream, GET, END);
const POST = [":method", "POST", ...GET.slice(2)];
const open = (stream: number): Buffer => headersFrame(stream, POST);
const data = (stream: number, text: string, flags = 0): Buffer =>
  frame(FrameType.data, flags, stream, Buffer.from(text));
const setting = (id: number, value: number): Buffer => Buffer.concat([Buffer.of(0, id), uint32(value)]);
const settings = (...parts: readonly Buffer[]): Buffer =>
  frame(FrameType.settings, 0, 0, Buffer.concat(parts));
/** A request whose header block is these octets. */
const rawBlock = (octets: Buffer, stream = 1): Buffer =>
  frame(FrameType.headers, Flag.endHeaders | END, stream, octets);
const GET_BLOCK = Buffer.from(block(GET));
const without = (name: string): string[] => {
  const at = GET.indexOf(name);
  return [...GET.slice(0, at), ...GET.slice(at + 2)];
};
const goaway = (...codes: readonly number[]): Wanted => ({ goaway: codes });
const reset = (...codes: readonly number[]): Wanted => ({ reset: codes });
const answered = (...streams: readonly number[]): Wanted => ({ answered: streams });
const malformed = (fields: readonly string[]): readonly Buffer[] => [headersFrame(1, fields, END)];

const ROWS: readonly Row[] = [
  // ---- RFC 9113 §4: frames
  ["4.1", "a frame of unknown type is ignored", [frame(0x16, 0, 0, Buffer.alloc(8)), get(1)], answered(1)],
  [
    "4.1",
    "undefined flags are ignored",
    [frame(FrameType.ping, 0x16, 0, Buffer.alloc(8)), get(1)],
    answered(1),
  ],
  [
    "4.1",
    "the reserved bit of a stream identifier is ignored",
    [frame(FrameType.headers, Flag.endHeaders | END, 0x8000_0001, GET_BLOCK)],
    answered(1),
  ],
  [
    "4.2",
    "DATA of 16,384 octets is taken",
    [open(1), frame(FrameType.data, END, 1, Buffer.alloc(16_384))],
    answered(1),
  ],
  [
    "4.2",
    "DATA beyond SETTINGS_MAX_FRAME_SIZE",
    [open(1), frame(FrameType.data, END, 1, Buffer.alloc(16_385))],
    goaway(E.frameSizeError),
  ],
  [
    "4.2",
    "HEADERS beyond SETTINGS_MAX_FRAME_SIZE",
    [frame(FrameType.headers, Flag.endHeaders | END, 1, Buffer.alloc(16_385))],
    goaway(E.frameSizeError),
  ],
  ["4.3", "a header block that cannot be decoded", [rawBlock(Buffer.of(0x40))], goaway(E.compressionError)],
  [
    "4.3",
    "PRIORITY between the parts of a header block",
    [
      frame(FrameType.headers, END, 1, GET_BLOCK),
      frame(FrameType.priority, 0, 1, Buffer.alloc(5)),
      frame(FrameType.continuation, Flag.endHeaders, 1),
    ],
    goaway(E.protocolError),
  ],
  [
    "4.3",
    "HEADERS of another stream between them",
    [frame(FrameType.headers, END, 1, GET_BLOCK), get(3)],
    goaway(E.protocolError),
  ],
  // ---- §5.1: states of a stream
  ["5.1", "idle: DATA", [data(1, "x", END)], goaway(E.protocolError)],
  ["5.1", "idle: RST_STREAM", [frame(FrameType.rstStream, 0, 1, uint32(E.cancel))], goaway(E.protocolError)],
  ["5.1", "idle: WINDOW_UPDATE", [frame(FrameType.windowUpdate, 0, 1, uint32(100))], goaway(E.protocolError)],
  [
    "5.1",
    "idle: CONTINUATION",
    [frame(FrameType.continuation, Flag.endHeaders, 1, GET_BLOCK)],
    goaway(E.protocolError),
  ],
  ["5.1", "half-closed: DATA", [get(1), data(1, "x", END)], reset(E.streamClosed)],
  ["5.1", "half-closed: HEADERS", [get(1), get(1)], { reset: [E.streamClosed] }],
  [
    "5.1",
    "half-closed: CONTINUATION",
    [get(1), frame(FrameType.continuation, Flag.endHeaders, 1, GET_BLOCK)],
    goaway(E.protocolError, E.streamClosed),
  ],
  [
    "5.1",
    "closed by RST_STREAM: HEADERS",
    [open(1), frame(FrameType.rstStream, 0, 1, uint32(E.cancel)), get(1)],
    goaway(E.protocolError, E.streamClosed),
  ],
  [
    "5.1",
    "closed by RST_STREAM: DATA",
    [open(1), frame(FrameType.rstStream, 0, 1, uint32(E.cancel)), data(1, "x")],
    reset(E.streamClosed),
  ],
  [
    "5.1",
    "closed by RST_STREAM: CONTINUATION",
    [
      open(1),
      frame(FrameType.rstStream, 0, 1, uint32(E.cancel)),
      frame(FrameType.continuation, Flag.endHeaders, 1, GET_BLOCK),
    ],
    goaway(E.protocolError, E.streamClosed),
  ],
  [
    "5.1",
    "closed: PRIORITY, WINDOW_UPDATE and RST_STREAM are ignored",
    [
      open(1),
      frame(FrameType.rstStream, 0, 1, uint32(E.cancel)),
      frame(FrameType.priority, 0, 1, Buffer.alloc(5)),
      frame(FrameType.windowUpdate, 0, 1, uint32(1)),
      frame(FrameType.rstStream, 0, 1, uint32(E.cancel)),
      get(3),
    ],
    answered(3),
  ],
  ["5.1.1", "a stream of an even number", [get(2)], goaway(E.protocolError)],
  [
    "5.1.1",
    "a stream of a smaller number than the last",
    [get(5), get(3)],
    goaway(E.protocolError, E.streamClosed),
  ],
  [
    "5.1.2",
    "more streams than SETTINGS_MAX_CONCURRENT_STREAMS",
    Array.from({ length: 251 }, (_, at) => open(2 * at + 1)),
    { reset: [E.refusedStream, E.protocolError], stream: 501 },
  ],
  [
    "5.3.1",
    "HEADERS that depend on their own stream",
    [
      frame(
        FrameType.headers,
        Flag.endHeaders | END | Flag.priority,
        1,
        Buffer.concat([uint32(1), Buffer.of(15), GET_BLOCK]),
      ),
    ],
    goaway(E.protocolError),
  ],
  [
    "5.5",
    "an extension frame between the parts of a header block",
    [
      frame(FrameType.headers, END, 1, GET_BLOCK),
      frame(0x16, 0, 0, Buffer.alloc(8)),
      frame(FrameType.continuation, Flag.endHeaders, 1),
    ],
    goaway(E.protocolError),
  ],
  // ---- §6: each type of frame
  ["6.1", "DATA of stream 0", [data(0, "x", END)], goaway(E.protocolError)],
  [
    "6.1",
    "DATA with padding is taken",
    [open(1), frame(FrameType.data, END | Flag.padded, 1, Buffer.of(3, 0x61, 0, 0, 0))],
    answered(1),
  ],
  [
    "6.1",
    "DATA shorter than its padding",
    [open(1), frame(FrameType.data, END | Flag.padded, 1, Buffer.of(6, 0, 0, 0, 0, 0))],
    goaway(E.protocolError),
  ],
  ["6.2", "HEADERS of stream 0", [get(0)], goaway(E.protocolError)],
  [
    "6.2",
    "HEADERS with padding and priority are taken",
    [
      frame(
        FrameType.headers,
        Flag.endHeaders | END | Flag.padded | Flag.priority,
        1,
        Buffer.concat([Buffer.of(2), uint32(0), Buffer.of(15), GET_BLOCK, Buffer.alloc(2)]),
      ),
    ],
    answered(1),
  ],
  [
    "6.2",
    "HEADERS shorter than their padding",
    [frame(FrameType.headers, Flag.endHeaders | END | Flag.padded, 1, Buffer.of(200, 0x82))],
    goaway(E.protocolError),
  ],
  [
    "6.3",
    "PRIORITY of stream 0",
    [frame(FrameType.priority, 0, 0, Buffer.alloc(5))],
    goaway(E.protocolError),
  ],
  [
    "6.3",
    "PRIORITY of 4 octets",
    [frame(FrameType.priority, 0, 1, Buffer.alloc(4))],
    goaway(E.frameSizeError),
  ],
  [
    "6.3",
    "PRIORITY that depends on its own stream, which may be idle",
    [frame(FrameType.priority, 0, 1, Buffer.concat([uint32(1), Buffer.of(15)]))],
    goaway(E.protocolError),
  ],
  ["6.4", "RST_STREAM of stream 0", [frame(FrameType.rstStream, 0, 0, uint32(8))], goaway(E.protocolError)],
  [
    "6.4",
    "RST_STREAM of 3 octets",
    [open(1), frame(FrameType.rstStream, 0, 1, Buffer.alloc(3))],
    goaway(E.frameSizeError),
  ],
  [
    "6.5",
    "an acknowledgement of SETTINGS with a payload",
    [frame(FrameType.settings, Flag.ack, 0, Buffer.alloc(6))],
    goaway(E.frameSizeError),
  ],
  ["6.5", "SETTINGS of a stream", [frame(FrameType.settings, 0, 1)], goaway(E.protocolError)],
  [
    "6.5",
    "SETTINGS of 5 octets",
    [frame(FrameType.settings, 0, 0, Buffer.alloc(5))],
    goaway(E.frameSizeError),
  ],
  ["6.5.2", "SETTINGS_ENABLE_PUSH of 2", [settings(setting(2, 2))], goaway(E.protocolError)],
  [
    "6.5.2",
    "SETTINGS_INITIAL_WINDOW_SIZE of 2^31",
    [settings(setting(4, 0x8000_0000))],
    goaway(E.flowControlError),
  ],
  ["6.5.2", "SETTINGS_MAX_FRAME_SIZE of 16,383", [settings(setting(5, 16_383))], goaway(E.protocolError)],
  ["6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24", [settings(setting(5, 1 << 24))], goaway(E.protocolError)],
  ["6.5.2", "an unknown setting is ignored", [settings(setting(0xff, 1)), get(1)], answered(1)],
  [
    "6.5.3",
    "of a setting that is there twice the last one counts: nothing is sent into a window of 0",
    [settings(setting(4, 100), setting(4, 0)), get(1), frame(FrameType.windowUpdate, 0, 1, uint32(100))],
    answered(1),
  ],
  [
    "6.5.3",
    "SETTINGS are acknowledged",
    [settings(setting(3, 100))],
    {
      frame: (frames) =>
        frames.filter(({ type, flags }) => type === FrameType.settings && (flags & Flag.ack) !== 0).length >=
        2,
    },
  ],
  [
    "6.7",
    "PING is answered with the same octets",
    [frame(FrameType.ping, 0, 0, Buffer.from("isthmus!"))],
    {
      frame: (frames) =>
        frames.some(
          ({ type, flags, payload }) =>
            type === FrameType.ping && (flags & Flag.ack) !== 0 && payload.toString() === "isthmus!",
        ),
    },
  ],
  [
    "6.7",
    "an answer to a PING is not answered",
    [frame(FrameType.ping, Flag.ack, 0, Buffer.alloc(8)), get(1)],
    answered(1),
  ],
  ["6.7", "PING of a stream", [frame(FrameType.ping, 0, 1, Buffer.alloc(8))], goaway(E.protocolError)],
  ["6.7", "PING of 6 octets", [frame(FrameType.ping, 0, 0, Buffer.alloc(6))], goaway(E.frameSizeError)],
  ["6.8", "GOAWAY of a stream", [frame(FrameType.goaway, 0, 1, Buffer.alloc(8))], goaway(E.protocolError)],
  [
    "6.9",
    "WINDOW_UPDATE of 0 for the connection",
    [frame(FrameType.windowUpdate, 0, 0, uint32(0))],
    goaway(E.protocolError),
  ],
  [
    "6.9",
    "WINDOW_UPDATE of 0 for a stream",
    [open(1), frame(FrameType.windowUpdate, 0, 1, uint32(0))],
    reset(E.protocolError),
  ],
  [
    "6.9",
    "WINDOW_UPDATE of 3 octets",
    [frame(FrameType.windowUpdate, 0, 0, Buffer.alloc(3))],
    goaway(E.frameSizeError),
  ],
  [
    "6.9.1",
    "no more is sent than the window has room for",
    [settings(setting(4, 1)), get(1)],
    {
      frame: (frames) =>
        frames.some(({ type, payload }) => type === FrameType.data && payload.length === 1) &&
        !frames.some(({ type, payload }) => type === FrameType.data && payload.length > 1),
    },
  ],
  [
    "6.9.1",
    "a window of the connection beyond 2^31-1",
    [
      frame(FrameType.windowUpdate, 0, 0, uint32(0x7fff_ffff)),
      frame(FrameType.windowUpdate, 0, 0, uint32(0x7fff_ffff)),
    ],
    goaway(E.flowControlError),
  ],
  [
    "6.9.1",
    "a window of a stream beyond 2^31-1",
    [open(1), frame(FrameType.windowUpdate, 0, 1, uint32(0x7fff_ffff))],
    reset(E.flowControlError),
  ],
  [
    "6.9.2",
    "a window that SETTINGS make larger lets the rest through",
    [settings(setting(4, 1)), get(1), settings(setting(4, 1_000))],
    answered(1),
  ],
  [
    "6.9.2",
    "a window that SETTINGS make negative is made up for first",
    [
      settings(setting(4, 3)),
      get(1),
      settings(setting(4, 2)),
      frame(FrameType.windowUpdate, 0, 1, uint32(100)),
    ],
    answered(1),
  ],
  [
    "6.10",
    "several CONTINUATION frames are one block",
    [
      frame(FrameType.headers, END, 1, GET_BLOCK.subarray(0, 1)),
      frame(FrameType.continuation, 0, 1, GET_BLOCK.subarray(1, 3)),
      frame(FrameType.continuation, Flag.endHeaders, 1, GET_BLOCK.subarray(3)),
    ],
    answered(1),
  ],
  [
    "6.10",
    "CONTINUATION after END_HEADERS",
    [open(1), frame(FrameType.continuation, Flag.endHeaders, 1, GET_BLOCK)],
    goaway(E.protocolError),
  ],
  [
    "6.10",
    "CONTINUATION of stream 0",
    [frame(FrameType.headers, END, 1, GET_BLOCK), frame(FrameType.continuation, Flag.endHeaders, 0)],
    goaway(E.protocolError),
  ],
  // ---- §7 and §8: errors and messages
  [
    "7",
    "RST_STREAM with an unknown code is taken",
    [open(1), frame(FrameType.rstStream, 0, 1, uint32(0xff)), get(3)],
    answered(3),
  ],
  [
    "8.1",
    "a second block of fields that does not end the stream",
    [open(1), headersFrame(1, ["x-a", "b"])],
    reset(E.protocolError),
  ],
  ["8.1", "trailers end a request", [open(1), data(1, "x"), headersFrame(1, ["x-a", "b"], END)], answered(1)],
  ["8.2.1", "an upper-case name", malformed([...GET, "X-A", "b"]), reset(E.protocolError)],
  ["8.2.1", "a colon within a name", malformed([...GET, "x:a", "b"]), reset(E.protocolError)],
  ["8.2.1", "NUL in a value", malformed([...GET, "x-a", "b\0"]), reset(E.protocolError)],
  ["8.2.1", "a line end in a value", malformed([...GET, "x-a", "b\r\nc: d"]), reset(E.protocolError)],
  ["8.2.1", "white space before a value", malformed([...GET, "x-a", " b"]), reset(E.protocolError)],
  ...["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"].map(
    (name): Row => ["8.2.2", name, malformed([...GET, name, "x"]), reset(E.protocolError)],
  ),
  ["8.2.2", "te other than trailers", malformed([...GET, "te", "trailers, deflate"]), reset(E.protocolError)],
  ["8.2.2", "te: trailers is taken", malformed([...GET, "te", "trailers"]), answered(1)],
  ["8.3", "an unknown pseudo-header field", malformed([":test", "x", ...GET]), reset(E.protocolError)],
  ["8.3", "a pseudo-header field of answers", malformed([":status", "200", ...GET]), reset(E.protocolError)],
  ["8.3", "a pseudo-header field after others", malformed(["x-a", "b", ...GET]), reset(E.protocolError)],
  [
    "8.3",
    "a pseudo-header field in trailers",
    [open(1), headersFrame(1, [":method", "GET"], END)],
    reset(E.protocolError),
  ],
  ...[":method", ":scheme", ":path"].map(
    (name): Row => ["8.3.1", `no ${name}`, malformed(without(name)), reset(E.protocolError)],
  ),
  ...[":method", ":scheme", ":path"].map(
    (name): Row => [
      "8.3.1",
      `two of ${name}`,
      malformed([...GET, name, GET[GET.indexOf(name) + 1] ?? ""]),
      reset(E.protocolError),
    ],
  ),
  [
    "8.3.1",
    "an empty :path",
    malformed([":method", "GET", ":scheme", "http", ":path", "", ":authority", "cart"]),
    reset(E.protocolError),
  ],
  [
    "8.1.1",
    "content-length beyond the content",
    [headersFrame(1, [...POST, "content-length", "2"]), data(1, "x", END)],
    reset(E.protocolError),
  ],
  [
    "8.1.1",
    "content-length short of several DATA frames",
    [headersFrame(1, [...POST, "content-length", "1"]), data(1, "x"), data(1, "y", END)],
    reset(E.protocolError),
  ],
  [
    "8.4",
    "PUSH_PROMISE of a client",
    [open(1), frame(FrameType.pushPromise, Flag.endHeaders, 1, uint32(2))],
    goaway(E.protocolError),
  ],
  // ---- RFC 7541
  [
    "7541 2.3.3",
    "an index beyond both tables",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0xff, 0x80, 0x01)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 2.3.3",
    "a name by an index beyond both tables",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x7f, 0x80, 0x01, 1, 0x61)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 4.2",
    "a size update at the end of a block",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x20)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 4.2",
    "size updates at the beginning are taken",
    [rawBlock(Buffer.concat([Buffer.of(0x20, 0x3f, 0x09), GET_BLOCK]))],
    answered(1),
  ],
  [
    "7541 5.1",
    "an integer without end",
    [rawBlock(Buffer.concat([Buffer.of(0xff), Buffer.alloc(12, 0xff)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 5.1",
    "a block that ends within an integer",
    [rawBlock(Buffer.of(0xff, 0x80))],
    goaway(E.compressionError),
  ],
  [
    "7541 5.2",
    "a string longer than the block",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x00, 0x05, 0x61)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 5.2",
    "Huffman padding of more than 7 bits",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x00, 0x01, 0x78, 0x82, 0x1f, 0xff)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 5.2",
    "Huffman padding of zeros",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x00, 0x01, 0x78, 0x81, 0x18)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 5.2",
    "the Huffman code of the end of a string",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x00, 0x01, 0x78, 0x84, 0xff, 0xff, 0xff, 0xff)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 6.1",
    "index 0",
    [rawBlock(Buffer.concat([GET_BLOCK, Buffer.of(0x80)]))],
    goaway(E.compressionError),
  ],
  [
    "7541 6.3",
    "a size update beyond SETTINGS_HEADER_TABLE_SIZE",
    [rawBlock(Buffer.concat([Buffer.of(0x3f, 0xe2, 0x1f), GET_BLOCK]))],
    goaway(E.compressionError),
  ],
];

describe("HTTP/2 of a workload's listener, as RFC 9113 and RFC 7541 want it", () => {
  let mesh: Mesh;
  let server: http2.Http2Server;
  let client: RawSocket;
  beforeAll(async () => {
    server = http2.createServer();
    server.on("session", (session) => session.on("error", () => {}));
    server.on("stream", (stream) => {
      stream.on("error", () => {});
      stream.resume().once("end", () => {
        if (stream.destroyed || stream.closed) return;
        stream.respond({ ":status": 200 });
        stream.end("hello");
      });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    mesh = await startMesh({ agents: false, endpoint: `127.0.0.1:${port}` });
  });
  afterAll(() => {
    mesh.close();
    server.close();
  });

  const received = (): Frames => framesOf(wholeFrames(Buffer.from(client.text, "latin1")));
  const has = (what: string, test: (frames: Frames) => boolean): Promise<true> =>
    until(what, 5_000, () => (test(received()) ? true : undefined));
  const hasAnswer = (stream: number): Promise<true> =>
    has(`stream ${stream} is answered`, (frames) => {
      const own = frames.filter((one) => one.stream === stream);
      const body = own.filter(({ type }) => type === FrameType.data).map(({ payload }) => payload.toString());
      return body.join("") === "hello" && (own.at(-1)?.flags ?? 0) % 2 === END;
    });

  it.each(ROWS)("§%s: %s", async (_section, _what, bytes, wanted) => {
    client = await dialRaw(mesh.address("ns/shop/sa/web"));
    client.send(Buffer.concat([PREFACE, settings(), ...bytes]));
    if ("answered" in wanted) {
      for (const stream of wanted.answered) await hasAnswer(stream);
    } else if ("frame" in wanted) {
      await has("the frame", wanted.frame);
    } else if ("goaway" in wanted) {
      await client.isGone();
      const codes = received()
        .filter(({ type }) => type === FrameType.goaway)
        .map(({ payload }) => payload.readUInt32BE(4));
      expect(codes.length).toBeGreaterThan(0);
      expect(wanted.goaway).toContain(codes.at(-1));
    } else {
      const { stream = 1 } = wanted;
      const resets = (frames: Frames) =>
        frames.filter((one) => one.type === FrameType.rstStream && one.stream === stream);
      await has(`stream ${stream} is reset`, (frames) => resets(frames).length > 0);
      expect(wanted.reset).toContain(resets(received())[0]?.payload.readUInt32BE(0));
      // The connection lives: what comes next is answered (one of the others makes room for it).
      client.send(Buffer.concat([frame(FrameType.rstStream, 0, 1, uint32(E.cancel)), get(stream + 2)]));
      await hasAnswer(stream + 2);
    }
    client.destroy();
  });

  it("§3.4: bytes that begin no preface are HTTP/1.1 that cannot be read: 400, and the connection ends", async () => {
    client = await dialRaw(mesh.address("ns/shop/sa/web"));
    client.send("INVALID CONNECTION PREFACE\r\n\r\n");
    await client.isGone();
    expect(client.text).toMatch(/^HTTP\/1\.1 400 /);
    client.destroy();
  });

  it.each([
    ["an HTTP/2 preface that breaks off into something else", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"],
    ["no SETTINGS after the preface", Buffer.concat([PREFACE, get(1)])],
  ])("§3.4: %s ends the connection", async (_what, bytes) => {
    client = await dialRaw(mesh.address("ns/shop/sa/web"));
    client.send(bytes);
    await client.isGone();
    client.destroy();
  });
});
