import { once } from "node:events";
import { createServer as createHttp1, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2, type Http2ServerRequest, type ServerHttp2Session } from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";

/** As both of Node's servers have them, as far as a test needs them. */
export type BothHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface BothServer {
  readonly port: number;
  readonly listening: boolean;
  /** Open now. */
  readonly connections: number;
  listen(port?: number): Promise<void>;
  /** Closes the port and every connection. */
  close(): Promise<void>;
}

const connections = new WeakMap<ServerHttp2Session, Socket>();

/** One port that speaks HTTP/1.1 and HTTP/2 with prior knowledge, whichever its client begins with: Node's own servers behind it. */
export function createBoth(handler: BothHandler): BothServer {
  const http1 = createHttp1(handler);
  http1.keepAliveTimeout = 0;
  const http2 = createHttp2();
  let accepted: Socket | undefined;
  http2.on("request", handler as unknown as (request: Http2ServerRequest) => void);
  http2.on("sessionError", () => {});
  http2.on("session", (session) => {
    if (accepted !== undefined) connections.set(session, accepted);
    session.on("error", () => {});
  });
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.once("close", () => open.delete(socket));
    socket.on("error", () => {});
    socket.once("data", (first: Buffer) => {
      socket.pause();
      socket.unshift(first);
      accepted = socket;
      (first.subarray(0, 3).toString() === "PRI" ? http2 : http1).emit("connection", socket);
      process.nextTick(() => socket.resume());
    });
  });
  return {
    get port() {
      return (server.address() as AddressInfo).port;
    },
    get listening() {
      return server.listening;
    },
    get connections() {
      return open.size;
    },
    async listen(port = 0) {
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
    },
    async close() {
      if (!server.listening) return;
      const closed = once(server, "close");
      server.close();
      for (const socket of open) socket.destroy();
      await closed;
    },
  };
}

/** Breaks the request's connection off, as a process does that dies. */
export function breakOff(request: IncomingMessage): void {
  const { session } = (request as unknown as Http2ServerRequest).stream ?? {};
  (session === undefined
    ? request.socket
    : connections.get(session as ServerHttp2Session)
  )?.resetAndDestroy();
}

/** The same by either version: pseudo-header fields are gone, `:authority` is Host. */
export function plainHeaders(headers: IncomingMessage["headers"]): IncomingMessage["headers"] {
  const plain: IncomingMessage["headers"] = {};
  for (const [name, value] of Object.entries(headers)) if (!name.startsWith(":")) plain[name] = value;
  const authority = headers[":authority"];
  return typeof authority === "string" ? { host: authority, ...plain } : plain;
}
