/** HTTP/2 connections without a network: each side's bytes are taken out and handed over by the test. */
import type { Socket } from "node:net";
import {
  Connection,
  type ConnectionHost,
  type ConnectionOptions,
  type Notice,
} from "../../gateway/dataplane/http2/connection.ts";
import type { ConnectionFault } from "../../gateway/dataplane/http2/error-code.ts";
import { Flag, FrameType, PREFACE } from "../../gateway/dataplane/http2/frame.ts";
import { HpackEncoder } from "../../gateway/dataplane/http2/hpack-encoder.ts";
import { recycle } from "../../gateway/dataplane/http2/output.ts";
import type { Stream, StreamHandler } from "../../gateway/dataplane/http2/stream.ts";
import { frame } from "./h2-frames.ts";

export const OPTIONS: Omit<ConnectionOptions, "role"> = {
  maxStreams: 10,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 1024 * 1024,
  maxFrameBytes: 16_384,
  headers: { listBytes: 8_192, fields: 50 },
  maxQueuedBytes: 1024 * 1024,
};

/** Remembers what a stream was told. */
export class Recorder implements StreamHandler {
  readonly heads: (readonly string[])[] = [];
  trailers: readonly string[] | undefined;
  body = "";
  ended = false;
  drains = 0;
  closedWith: number | undefined;
  hint: string | undefined;
  stream: Stream | undefined;

  onHeaders(_stream: Stream, fields: readonly string[]) {
    this.heads.push([...fields]);
  }
  onTrailers(_stream: Stream, fields: readonly string[]) {
    this.trailers = [...fields];
  }
  onData(_stream: Stream, buffer: Buffer, start: number, end: number) {
    this.body += buffer.toString("latin1", start, end);
  }
  onEnd() {
    this.ended = true;
  }
  onDrain() {
    this.drains += 1;
  }
  onClosed(stream: Stream) {
    this.closedWith = stream.rstCode;
  }
  onAltsvc(_stream: Stream, value: string) {
    this.hint = value;
  }
}

/** One side of a connection, its bytes taken out by hand. */
export class Side implements ConnectionHost {
  readonly connection: Connection;
  readonly requests: Recorder[] = [];
  readonly notices: Notice[] = [];
  wentAway: number | undefined;
  broken: ConnectionFault | undefined;
  pongs = 0;

  constructor(role: "client" | "server", options: Partial<ConnectionOptions> = {}) {
    this.connection = new Connection({ ...OPTIONS, role, ...options }, this);
  }
  readonly isWriting = false;
  wake() {}
  ready() {}
  pong() {
    this.pongs += 1;
  }
  goaway(code: number) {
    this.wentAway = code;
  }
  fault(fault: ConnectionFault) {
    this.broken = fault;
  }
  noticed(event: Notice) {
    this.notices.push(event);
  }
  request(stream: Stream, fields: readonly string[]) {
    const recorder = new Recorder();
    recorder.stream = stream;
    recorder.heads.push([...fields]);
    this.requests.push(recorder);
    return recorder;
  }

  take(): Buffer {
    this.connection.flush();
    const parts: Buffer[] = [];
    for (let part = this.connection.output.take(); part; part = this.connection.output.take()) {
      parts.push(Buffer.from(part.slab.subarray(0, part.length)));
      recycle(part.slab);
    }
    return Buffer.concat(parts);
  }

  /** Bytes are on loan: what the receiver kept of them is spoilt afterwards. */
  give(bytes: Buffer) {
    const lent = Buffer.from(bytes);
    this.connection.receive(lent, 0, lent.length);
    lent.fill(0xee);
  }

  open(fields: readonly string[] = GET, ended = false): Recorder {
    const recorder = new Recorder();
    recorder.stream = this.connection.request(fields, ended, recorder);
    return recorder;
  }
}

export const GET = [":method", "GET", ":scheme", "http", ":path", "/", ":authority", "cart"];
export const OK = [":status", "200"];

/** Hands bytes over, cut as `cut` says, until neither side has any. */
export function settle(
  one: Side,
  other: Side,
  cut: (bytes: Buffer) => readonly Buffer[] = (bytes) => [bytes],
) {
  for (let round = 0; round < 10_000; round++) {
    const forth = one.take();
    for (const part of cut(forth)) other.give(part);
    const back = other.take();
    for (const part of cut(back)) one.give(part);
    if (forth.length === 0 && back.length === 0) return;
  }
  throw new Error("does not settle");
}

export function pair(options: Partial<ConnectionOptions> = {}) {
  const client = new Side("client", options);
  const server = new Side("server", options);
  settle(client, server);
  return { client, server };
}

export const uint32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export const block = (fields: readonly string[]) => Buffer.from(new HpackEncoder().encode(fields));

export const headersFrame = (stream: number, fields: readonly string[], flags = 0) =>
  frame(FrameType.headers, Flag.endHeaders | flags, stream, block(fields));

/** Greets an HTTP/2 client, and tells the stream of the first request on the connection; the rest is the test's. */
export function awaitHttp2Request(socket: Socket, then: (stream: number) => void): void {
  let received = Buffer.alloc(0);
  socket.on("error", () => {});
  socket.write(frame(FrameType.settings, 0, 0));
  socket.on("data", function read(chunk: Buffer) {
    received = Buffer.concat([received, chunk]);
    const frames = framesOf(wholeFrames(received.subarray(PREFACE.length)));
    const asked = frames.find(({ type }) => type === FrameType.headers);
    if (asked === undefined) return;
    socket.off("data", read).resume();
    then(asked.stream);
  });
}

/** A server that was greeted, and what it answers to frames. */
export function served(options: Partial<ConnectionOptions> = {}) {
  const server = new Side("server", options);
  server.give(Buffer.concat([PREFACE, frame(FrameType.settings, 0, 0)]));
  server.take();
  return server;
}

export interface Seen {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export function framesOf(bytes: Buffer): readonly Seen[] {
  const seen: Seen[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.readUIntBE(at, 3);
    const payload = bytes.subarray(at + 9, at + 9 + length);
    const [type, flags] = [bytes.readUInt8(at + 3), bytes.readUInt8(at + 4)];
    seen.push({ type, flags, stream: bytes.readUInt32BE(at + 5), payload });
    at += 9 + length;
  }
  return seen;
}

/** Without the part of a frame that is still on its way. */
export function wholeFrames(bytes: Buffer): Buffer {
  let at = 0;
  while (at + 9 <= bytes.length && at + 9 + bytes.readUIntBE(at, 3) <= bytes.length)
    at += 9 + bytes.readUIntBE(at, 3);
  return bytes.subarray(0, at);
}

export const resetsOf = (bytes: Buffer) =>
  framesOf(bytes)
    .filter(({ type }) => type === FrameType.rstStream)
    .map(({ stream, payload }) => [stream, payload.readUInt32BE(0)]);

export const goawayOf = (bytes: Buffer) =>
  framesOf(bytes)
    .filter(({ type }) => type === FrameType.goaway)
    .map(({ payload }) => payload.readUInt32BE(4))[0];
