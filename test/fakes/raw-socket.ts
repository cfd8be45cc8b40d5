import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { addressOf } from "./http-wire.ts";
import { until } from "./until.ts";

const PATIENCE_MS = 5_000;

/** A socket driven byte by byte, which remembers what came and how it ended. */
export class RawSocket {
  readonly socket: Socket;
  /** The other side ended its half in good order. */
  ended = false;
  /** The connection was reset under us. */
  reset = false;
  closed = false;
  readonly #chunks: Buffer[] = [];
  #text = "";

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#chunks.push(chunk));
    socket.on("end", () => {
      this.ended = true;
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      this.reset ||= error.code === "ECONNRESET" || error.code === "EPIPE";
    });
    socket.on("close", () => {
      this.closed = true;
    });
  }

  /** All that arrived, as latin1. */
  get text(): string {
    for (const chunk of this.#chunks.splice(0)) this.#text += chunk.toString("latin1");
    return this.#text;
  }

  /** Forgets what arrived so far. */
  forget(): void {
    this.#chunks.length = 0;
    this.#text = "";
  }

  send(bytes: string | Buffer): this {
    this.socket.write(bytes, "latin1");
    return this;
  }

  /** Resolves when what arrived fits `pattern`. */
  async receives(pattern: RegExp | string): Promise<string> {
    const fits = () => (typeof pattern === "string" ? this.text.includes(pattern) : pattern.test(this.text));
    await until(`${String(pattern)} in ${JSON.stringify(this.text.slice(0, 300))}`, PATIENCE_MS, () =>
      fits() ? true : undefined,
    );
    return this.text;
  }

  /** Resolves when the other side is gone, in good order or not. */
  async isGone(patienceMs = PATIENCE_MS): Promise<this> {
    await until("the other side ends the connection", patienceMs, () =>
      this.ended || this.closed ? true : undefined,
    );
    return this;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

export async function dialRaw(address: string): Promise<RawSocket> {
  const socket = connect({ ...addressOf(address), noDelay: true, allowHalfOpen: true });
  const raw = new RawSocket(socket);
  // A listener may reset at once: that is for the test to see.
  await new Promise<void>((resolve) => socket.once("connect", resolve).once("close", () => resolve()));
  return raw;
}

/** Reads one chunk for a script; called again for every later one. */
export type Script = (connection: RawSocket, chunk: Buffer) => unknown;

/** A workload that does to its connections whatever a test tells it to. */
export interface ScriptedWorkload {
  readonly address: string;
  readonly connections: readonly RawSocket[];
  /** What to do with bytes from now on. */
  script: Script;
  /** What it does with a new connection before any bytes came, and with the end of one's incoming half. */
  onConnection: (connection: RawSocket) => unknown;
  onEnd: (connection: RawSocket) => unknown;
  /** All that any connection received. */
  seen(): string;
  /** Forgets what came before, so that a case sees only its own. */
  clear(): void;
  stop(): Promise<void>;
}

export async function startScriptedWorkload(script: Script = () => {}): Promise<ScriptedWorkload> {
  const all = new Set<RawSocket>();
  const workload = {
    script,
    onConnection: (_: RawSocket): unknown => undefined,
    onEnd: (_: RawSocket): unknown => undefined,
    address: "",
    connections: [] as RawSocket[],
    seen: () => workload.connections.map(({ text }) => text).join(""),
    clear() {
      workload.connections = workload.connections.filter(({ closed }) => !closed);
      for (const connection of workload.connections) connection.forget();
    },
    async stop() {
      server.close();
      for (const connection of all) connection.destroy();
      await once(server, "close");
    },
  };
  const server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
    const connection = new RawSocket(socket);
    all.add(connection);
    workload.connections.push(connection);
    socket.on("data", (chunk: Buffer) => workload.script(connection, chunk));
    socket.on("end", () => workload.onEnd(connection));
    socket.on("close", () => all.delete(connection));
    workload.onConnection(connection);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  workload.address = `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`;
  return workload;
}

/** Answers every head that ends with `answer`; for requests without bodies. */
export function answering(answer: string): Script {
  return (connection, chunk) => {
    const heads = chunk.toString("latin1").split("\r\n\r\n").length - 1;
    for (let head = 0; head < heads; head++) connection.send(answer);
  };
}

export function okResponse(body = "ok"): string {
  return `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

export function getRequest(path = "/", ...fields: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, "Host: cart.shop", ...fields, "", ""].join("\r\n");
}
