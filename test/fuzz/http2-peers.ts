/** Messages between our HTTP/2 and node:http2 (nghttp2), each side asking in turn, over a pair of streams in memory. */
import http2 from "node:http2";
import { type Duplex, duplexPair } from "node:stream";
import type { ConnectionOptions } from "../../gateway/dataplane/http2/connection.ts";
import type { Stream, StreamHandler } from "../../gateway/dataplane/http2/stream.ts";
import { Http2Session, type SessionEvents } from "../../gateway/dataplane/io/http2-session.ts";
import type { Random } from "./random.ts";

export interface Message {
  readonly fields: readonly (readonly [name: string, value: string])[];
  readonly body: string;
  readonly trailers: readonly (readonly [name: string, value: string])[];
}

const OPTIONS: Omit<ConnectionOptions, "role"> = {
  maxStreams: 100,
  streamWindowBytes: 70_000,
  connectionWindowBytes: 200_000,
  maxFrameBytes: 16_384,
  headers: { listBytes: 64 * 1024, fields: 200 },
  maxQueuedBytes: 1 << 20,
};

const NAMES = [
  "accept",
  "cookie",
  "x-a",
  "x-b",
  "x-long-name-of-a-field",
  "grpc-timeout",
  "authorization",
  "etag",
] as const;
const OCTETS =
  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/?%[]{}|<>^`\"#\\";

/** Repeated values now and then, so that tables are used; long ones, so that they overflow. */
export function anyMessage(random: Random): Message {
  const fields: (readonly [string, string])[] = [];
  for (let count = random.below(12); count > 0; count--) {
    const name = random.chance(3) ? `x-${random.text("abcdefgh", 1, 6)}` : random.pick(NAMES);
    if (fields.some(([known]) => known === name)) continue;
    const value = random.chance(2)
      ? random.text("ab", 1, 1)
      : random.text(OCTETS, 1, random.chance(20) ? 1_500 : 40);
    fields.push([name, value]);
  }
  const body = random.chance(2) ? "" : random.text("xyz", 1, random.chance(6) ? 150_000 : 200);
  const trailers = random.chance(3) ? [["x-trailer", random.text(OCTETS, 1, 30)] as const] : [];
  return { fields, body, trailers };
}

class Collector implements StreamHandler {
  heads: readonly string[] = [];
  body = "";
  trailers: readonly string[] = [];
  readonly #onDone: (collector: Collector) => void;

  constructor(onDone: (collector: Collector) => void, heads: readonly string[] = []) {
    this.#onDone = onDone;
    this.heads = heads;
  }

  onHeaders(_stream: Stream, fields: readonly string[]): void {
    this.heads = fields;
  }
  onTrailers(_stream: Stream, fields: readonly string[]): void {
    this.trailers = fields;
  }
  onData(_stream: Stream, buffer: Buffer, start: number, end: number): void {
    this.body += buffer.toString("latin1", start, end);
  }
  onEnd(): void {
    this.#onDone(this);
  }
  onDrain(): void {}
  onClosed(): void {}
  onAltsvc(): void {}
}

function sessionOver(
  duplex: Duplex,
  role: "client" | "server",
  onRequest: SessionEvents["onRequest"],
): Http2Session {
  const session = new Http2Session(
    { ...OPTIONS, role, asksAtOnce: true },
    { write: (bytes, written) => duplex.write(Buffer.from(bytes), written), end: () => duplex.end() },
    {
      onReady() {},
      onPong() {},
      onGoaway() {},
      onFault({ detail }) {
        throw new Error(`node:http2 broke the protocol: ${detail}`);
      },
      onNotice() {},
      onRequest,
    },
  );
  duplex.on("data", (chunk: Buffer) => session.receive(chunk, 0, chunk.length));
  return session;
}

function send(stream: Stream, { body, trailers }: Message): void {
  const bytes = Buffer.from(body, "latin1");
  stream.write(bytes, 0, bytes.length);
  stream.end(trailers.length === 0 ? undefined : trailers.flat());
}

function messageOf(heads: readonly string[], body: string, trailers: readonly string[]): Message {
  const pairs = (list: readonly string[]) =>
    Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at] ?? "", list[2 * at + 1] ?? ""] as const);
  return { fields: pairs(heads).filter(([name]) => !name.startsWith(":")), body, trailers: pairs(trailers) };
}

function fromNode(
  headers: http2.IncomingHttpHeaders,
  body: string,
  trailers: http2.IncomingHttpHeaders,
): Message {
  const pairs = (from: http2.IncomingHttpHeaders) =>
    Object.entries(from)
      .filter(([name]) => !name.startsWith(":"))
      .map(([name, value]) => [name, String(value)] as const);
  return { fields: pairs(headers), body, trailers: pairs(trailers) };
}

/** We ask, node:http2 answers with what it got; answers what came back for each. */
export async function askNode(messages: readonly Message[]): Promise<readonly Message[]> {
  const [ours, theirs] = duplexPair();
  const server = http2.performServerHandshake(theirs);
  server.on("stream", (stream, headers) => {
    let body = "";
    let trailers: http2.IncomingHttpHeaders = {};
    stream.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
    stream.once("trailers", (fields: http2.IncomingHttpHeaders) => (trailers = fields));
    stream.once("end", () => {
      const got = fromNode(headers, body, trailers);
      stream.respond({ ":status": 200, ...Object.fromEntries(got.fields) }, { waitForTrailers: true });
      stream.once("wantTrailers", () => stream.sendTrailers(Object.fromEntries(got.trailers)));
      stream.end(Buffer.from(body, "latin1"));
    });
  });
  const session = sessionOver(ours, "client", () => new Collector(() => {}));
  const answers = messages.map(
    (message) =>
      new Promise<Message>((resolve, reject) => {
        const done = ({ heads, body, trailers }: Collector) => resolve(messageOf(heads, body, trailers));
        const head = [
          ":method",
          "POST",
          ":scheme",
          "http",
          ":path",
          "/",
          ":authority",
          "x",
          ...message.fields.flat(),
        ];
        const stream = session.connection.request(head, false, new Collector(done));
        if (stream === undefined) return reject(new Error("no stream"));
        send(stream, message);
      }),
  );
  const got = await Promise.all(answers);
  server.destroy();
  return got;
}

/** node:http2 asks, we answer with what we got. */
export async function askUs(messages: readonly Message[]): Promise<readonly Message[]> {
  const [ours, theirs] = duplexPair();
  sessionOver(ours, "server", (stream, fields) => {
    return new Collector(({ heads, body, trailers }) => {
      const { fields: kept } = messageOf(heads, "", []);
      stream.headers([":status", "200", ...kept.flat()], false);
      send(stream, { fields: [], body, trailers: messageOf([], "", trailers).trailers });
    }, fields);
  });
  const client = http2.connect("http://x", { createConnection: () => theirs });
  const answers = messages.map(
    (message) =>
      new Promise<Message>((resolve, reject) => {
        const stream = client.request(
          { ":method": "POST", ":path": "/", ...Object.fromEntries(message.fields) },
          { waitForTrailers: true },
        );
        stream.once("wantTrailers", () => stream.sendTrailers(Object.fromEntries(message.trailers)));
        stream.end(Buffer.from(message.body, "latin1"));
        let head: http2.IncomingHttpHeaders = {};
        let trailers: http2.IncomingHttpHeaders = {};
        let body = "";
        stream.once("response", (fields) => (head = fields));
        stream.once("trailers", (fields: http2.IncomingHttpHeaders) => (trailers = fields));
        stream.on("data", (chunk: Buffer) => (body += chunk.toString("latin1")));
        stream.once("error", reject);
        stream.once("close", () => resolve(fromNode(head, body, trailers)));
      }),
  );
  const got = await Promise.all(answers);
  client.destroy();
  return got;
}

/** `undefined`, or how what came back differs from what was sent. */
export function difference(sent: Message, got: Message | undefined): string | undefined {
  const text = ({ fields, body, trailers }: Message) => {
    // node:http2 adds a date of its own.
    const own = fields.filter(([name]) => name !== "date").map((pair) => pair.join(": "));
    return JSON.stringify([own.sort(), body.length, body.slice(0, 50), trailers]);
  };
  if (got === undefined) return "nothing came back";
  return text(sent) === text(got) && sent.body === got.body
    ? undefined
    : `${text(sent)} came back as ${text(got)}`;
}
