/** Processes of their own that ill-treat a listener, so that their time and memory are not taken for ours. */
import { fork } from "node:child_process";
import { once } from "node:events";
import net, { type Socket } from "node:net";
import tls from "node:tls";
import { setTimeout as sleep } from "node:timers/promises";
import { END_HEADERS, END_STREAM, FRAME, frame, PREFACE, resetStream, settings } from "../fakes/h2-frames.ts";

export type Attack = keyof typeof ATTACKS;

export interface AttackOrder {
  readonly attack: Attack;
  readonly port: number;
  /** Host field of what it sends. */
  readonly host: string;
  readonly count: number;
  readonly seconds: number;
}

export interface AttackReport {
  readonly opened: number;
  /** Closed, or refused at once, by the other side before the attack ended. */
  readonly ended: number;
  /** From opening to the other side's end, of the one that lived longest. */
  readonly longestMs: number;
  readonly answers: Readonly<Record<string, number>>;
}

// Opening thousands at once would measure the backlog of the listener instead.
const AT_A_TIME = 100;
const DRIP_MS = 1_000;
const RESETS_PER_WRITE = 50;

/** One attacker's connection: what it does once it is open, and once a second. */
interface Conduct {
  readonly begin: (socket: Socket, order: AttackOrder) => void;
  readonly drip?: (socket: Socket) => void;
}

const ATTACKS = {
  slowHead: {
    begin: (socket, { host }) => socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nA: `),
    drip: (socket) => socket.write("b"),
  },
  slowBody: {
    begin: (socket, { host }) =>
      socket.write(`POST / HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 100000\r\n\r\n`),
    drip: (socket) => socket.write("b"),
  },
  /** Asks for much and takes nothing. */
  slowRead: {
    begin: (socket, { host }) => {
      socket.pause();
      socket.write(`GET /big HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
    },
    // Who does not read hears of the end only by writing.
    drip: (socket) => socket.write("G"),
  },
  rapidReset: { begin: (socket, order) => void resetRapidly(socket, order) },
  /** A whole handshake, without a certificate, over and over. */
  handshakes: { begin: (socket) => void shakeHands(socket) },
  /** Half a ClientHello. */
  halfHello: { begin: (socket) => socket.write(Buffer.of(0x16, 3, 1, 2, 0, 1, 0)) },
} satisfies Readonly<Record<string, Conduct>>;

/** HPACK: GET and http from the static table, path and authority spelled out. */
function requestFields(host: string): Buffer {
  return Buffer.concat([Buffer.of(0x82, 0x86, 0x84, 0x01, host.length), Buffer.from(host, "latin1")]);
}

async function resetRapidly(socket: Socket, { host }: AttackOrder): Promise<void> {
  socket.write(Buffer.concat([PREFACE, settings()]));
  const fields = requestFields(host);
  for (let stream = 1; socket.writable && stream < 2 ** 30; ) {
    const frames: Buffer[] = [];
    for (let count = 0; count < RESETS_PER_WRITE; count++, stream += 2)
      frames.push(frame(FRAME.headers, END_HEADERS | END_STREAM, stream, fields), resetStream(stream));
    if (!socket.write(Buffer.concat(frames)))
      await Promise.race([once(socket, "drain"), once(socket, "close")]);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function shakeHands(first: Socket): Promise<void> {
  const { remotePort: port = 0 } = first;
  first.destroy();
  const until = performance.now() + lifetimeMs;
  while (performance.now() < until) {
    const socket = tls.connect({ port, host: "127.0.0.1", ALPNProtocols: ["h2"], rejectUnauthorized: false });
    socket.on("error", () => {});
    socket.once("secureConnect", () => (shaken += 1));
    await once(socket, "close").catch(() => {});
  }
}

let lifetimeMs = 0;
let shaken = 0;

async function attack(order: AttackOrder): Promise<AttackReport> {
  const conduct: Conduct = ATTACKS[order.attack];
  lifetimeMs = order.seconds * 1_000;
  const alive = new Set<Socket>();
  const answers: Record<string, number> = {};
  let [opened, ended, longestMs] = [0, 0, 0];
  const openOne = async (): Promise<void> => {
    const socket = net.connect({ port: order.port, host: "127.0.0.1" });
    const began = performance.now();
    let over = false;
    const end = (): void => {
      if (over) return;
      over = true;
      alive.delete(socket);
      ended += 1;
      longestMs = Math.max(longestMs, performance.now() - began);
    };
    socket.on("error", () => {});
    socket.once("data", (chunk: Buffer) => {
      const code = /ISTH-\d+/.exec(chunk.toString("latin1"))?.[0] ?? "other";
      answers[code] = (answers[code] ?? 0) + 1;
    });
    socket.once("end", end);
    socket.once("close", end);
    await Promise.race([once(socket, "connect"), once(socket, "close")]).catch(() => {});
    if (socket.destroyed) return;
    opened += 1;
    alive.add(socket);
    conduct.begin(socket, order);
  };
  const timer = setInterval(() => {
    for (const socket of alive) if (socket.writable) conduct.drip?.(socket);
  }, DRIP_MS);
  const deadline = performance.now() + lifetimeMs;
  for (let begun = 0; begun < order.count; begun += AT_A_TIME)
    await Promise.all(Array.from({ length: Math.min(AT_A_TIME, order.count - begun) }, openOne));
  await sleep(Math.max(0, deadline - performance.now()));
  clearInterval(timer);
  const report = { opened, ended, longestMs, answers: shaken > 0 ? { shaken } : answers };
  for (const socket of alive) socket.destroy();
  return report;
}

/** Starts attackers, each in its process; resolves with what they saw when they have ended. */
export async function startAttack(orders: readonly AttackOrder[]): Promise<readonly AttackReport[]> {
  return Promise.all(
    orders.map(async (order) => {
      const child = fork(new URL(import.meta.url), {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
        execArgv: [],
      });
      const killed = (): void => void child.kill("SIGKILL");
      process.once("exit", killed);
      child.send(order);
      const [report] = (await once(child, "message")) as [AttackReport];
      child.kill();
      process.off("exit", killed);
      return report;
    }),
  );
}

if (process.argv[1] === new URL(import.meta.url).pathname && process.send !== undefined) {
  process.once("message", (order: AttackOrder) => {
    void attack(order).then((report) => process.send?.(report));
  });
}
