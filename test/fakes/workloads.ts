import { Buffer } from "node:buffer";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { freePort } from "./free-ports.ts";

export interface Workload {
  /** `127.0.0.1:<port>` */
  readonly address: string;
  /** Request heads or bytes received so far. */
  readonly seen: readonly string[];
  /** Closes all connections and stops listening; `start` makes it come back on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

const BODY = "a".repeat(100);
const OK = Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`);
const HEAD_END = "\r\n\r\n";
/** Enough to look at; a load test sends hundreds of thousands. */
const MAX_SEEN = 1000;

/** An HTTP server with a fixed answer of 100 bytes, cheap enough to stand beside the proxies on two cores. */
export function startHttpWorkload(): Promise<Workload> {
  return startWorkload((socket, seen) => {
    let pending = "";
    socket.on("data", (chunk) => {
      pending += chunk.toString("latin1");
      for (let end = pending.indexOf(HEAD_END); end !== -1; end = pending.indexOf(HEAD_END)) {
        if (seen.length < MAX_SEEN) seen.push(pending.slice(0, end));
        pending = pending.slice(end + HEAD_END.length);
        socket.write(OK);
      }
    });
  });
}

/** Sends back what it gets. */
export function startEchoWorkload(): Promise<Workload> {
  return startWorkload((socket, seen) => {
    socket.on("data", (chunk) => {
      if (seen.length < MAX_SEEN) seen.push(chunk.toString("utf8"));
      socket.write(chunk);
    });
  });
}

async function startWorkload(serve: (socket: Socket, seen: string[]) => void): Promise<Workload> {
  const seen: string[] = [];
  const sockets = new Set<Socket>();
  const open = async (port: number): Promise<Server> => {
    const server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
      // A proxy that is killed resets its connections; that is the subject of the tests, not an error of this server.
      socket.on("error", () => socket.destroy());
      serve(socket, seen);
    });
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return server;
  };
  const port = await freePort();
  let server = await open(port);
  return {
    address: `127.0.0.1:${port}`,
    seen,
    async stop() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    async start() {
      server = await open(port);
    },
  };
}
