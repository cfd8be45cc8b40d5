/** A process of its own that floods a tunnel listener, so that its memory and time are not taken for the listener's. */
import { fork } from "node:child_process";
import { once } from "node:events";
import tls, { type TLSSocket } from "node:tls";
import type { Credential } from "../../federation/trust/index.ts";
import {
  connectFields,
  connectStream,
  END_STREAM,
  FRAME,
  frame,
  PREFACE,
  resetStream,
  settings,
  uint32,
} from "./h2-frames.ts";
import { addressOf } from "./http-wire.ts";

const STREAMS = 100_000;

export type Attack = keyof typeof ATTACKS;

interface FloodOrder {
  readonly address: string;
  readonly attack: Attack;
  readonly key: string;
  readonly cert: string;
  /** What a tunnel request of the attacker carries. */
  readonly authority: string;
  readonly fields: Readonly<Record<string, string>>;
}

export interface FloodReport {
  /** Frames written before the listener ended the connection. */
  readonly frames: number;
  readonly cut: boolean;
}

const ATTACKS = {
  *opensStreams(fields: Buffer) {
    for (let stream = 1; stream < 2 * STREAMS; stream += 2) yield connectStream(stream, fields);
  },
  *resetsAtOnce(fields: Buffer) {
    for (let stream = 1; stream < 2 * STREAMS; stream += 2)
      yield Buffer.concat([connectStream(stream, fields), resetStream(stream)]);
  },
  /** Resets with NO_ERROR, which node:http2 takes for an end that was in order. */
  *resetsPolitely(fields: Buffer) {
    for (let stream = 1; stream < 2 * STREAMS; stream += 2)
      yield Buffer.concat([connectStream(stream, fields), resetStream(stream, 0)]);
  },
  *opensAndEnds(fields: Buffer) {
    for (let stream = 1; stream < 2 * STREAMS; stream += 2)
      yield Buffer.concat([connectStream(stream, fields), frame(FRAME.data, END_STREAM, stream)]);
  },
  *breaksWindows(fields: Buffer) {
    for (let stream = 1; stream < 2 * STREAMS; stream += 2)
      yield Buffer.concat([connectStream(stream, fields), frame(FRAME.windowUpdate, 0, stream, uint32(0))]);
  },
  *continuesForEver(fields: Buffer) {
    yield frame(FRAME.headers, 0, 1, fields);
    for (;;) yield frame(FRAME.continuation, 0, 1, Buffer.from("\0\x01a\x01b".repeat(50)));
  },
  *pings() {
    for (let count = 0; count < STREAMS; count++) yield frame(FRAME.ping, 0, 0, Buffer.alloc(8));
  },
  *sendsSettings() {
    for (let count = 0; count < STREAMS; count++) yield settings();
  },
  *sendsEmptyData(fields: Buffer) {
    yield connectStream(1, fields);
    for (let count = 0; count < STREAMS; count++) yield frame(FRAME.data, 0, 1);
  },
  /** Frames of every type with flags, streams and payloads that mean nothing, the same in every run. */
  *talksNonsense(fields: Buffer) {
    yield connectStream(1, fields);
    let seed = 1;
    const draw = (limit: number) => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % limit;
    };
    for (let count = 0; count < STREAMS; count++)
      yield frame(draw(11), draw(256), draw(16), Buffer.alloc(draw(64), draw(256)));
  },
  *setsPriorities() {
    for (let stream = 1; stream < 2 * STREAMS; stream += 2)
      yield frame(FRAME.priority, 0, stream, Buffer.alloc(5));
  },
} satisfies { readonly [attack: string]: (fields: Buffer) => Generator<Buffer> };

const FRAMES_PER_WRITE = 500;

async function flood({ address, attack, key, cert, authority, fields }: FloodOrder): Promise<FloodReport> {
  const socket = tls.connect({
    ...addressOf(address),
    key,
    cert,
    ALPNProtocols: ["h2"],
    rejectUnauthorized: false,
  });
  socket.on("error", () => {});
  await once(socket, "secureConnect");
  socket.resume();
  socket.write(Buffer.concat([PREFACE, settings()]));
  let frames = 0;
  let parts: Buffer[] = [];
  for (const part of ATTACKS[attack](connectFields(authority, fields))) {
    parts.push(part);
    frames += 1;
    if (parts.length < FRAMES_PER_WRITE) continue;
    await write(socket, Buffer.concat(parts.splice(0)));
    if (socket.destroyed) break;
  }
  parts = [];
  const cut = await ends(socket);
  return { frames, cut };
}

/** Writes, and waits for the listener to take it and for a turn in which its answer can be read. */
async function write(socket: TLSSocket, bytes: Buffer): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      socket.off("close", done);
      setImmediate(resolve);
    };
    socket.once("close", done);
    socket.write(bytes, done);
  });
}

const PATIENCE_MS = 3_000;

async function ends(socket: TLSSocket): Promise<boolean> {
  if (socket.destroyed) return true;
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), PATIENCE_MS);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** Floods from another process; resolves when the listener cut it or it has sent all it had. */
export async function floodFromOutside(
  order: Omit<FloodOrder, "key" | "cert"> & { readonly credential: Credential },
): Promise<FloodReport> {
  const { credential, ...rest } = order;
  const child = fork(new URL(import.meta.url), { stdio: "ignore", execArgv: [] });
  child.send({ ...rest, key: credential.privateKeyPem, cert: credential.chainPem } satisfies FloodOrder);
  const [report] = (await once(child, "message")) as [FloodReport];
  child.kill();
  return report;
}

if (process.argv[1] === new URL(import.meta.url).pathname && process.send !== undefined) {
  process.once("message", (order: FloodOrder) => {
    void flood(order).then((report) => process.send?.(report));
  });
}
