import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";

/** What a backend tells of a request that reached it. */
export interface Echo {
  readonly backend: string;
  readonly method: string;
  readonly url: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: string;
}

/** Answers a request, or leaves it to the usual echo by returning `false`. */
export type Behaviour = (request: IncomingMessage, response: ServerResponse, echo: Echo) => boolean;

export interface EchoBackend {
  readonly address: string;
  readonly seen: Echo[];
  behave: Behaviour;
  reset(): void;
  stop(): Promise<void>;
}

/** A real HTTP server (Node's) that answers with what it got. */
export async function startEchoBackend(backend: string): Promise<EchoBackend> {
  const usual: Behaviour = () => false;
  const made = {
    address: "",
    seen: [] as Echo[],
    behave: usual,
    reset() {
      made.behave = usual;
      made.seen = [];
    },
    async stop() {
      if (!server.listening) return;
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", headers } = request;
      const echo = { backend, method, url, headers, body: Buffer.concat(chunks).toString() };
      if (made.seen.length < 10_000) made.seen.push(echo);
      if (made.behave(request, response, echo)) return;
      const text = JSON.stringify(echo);
      response.writeHead(200, {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(text),
        "x-backend": backend,
      });
      response.end(text);
    });
    request.on("error", () => {});
  });
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  made.address = `127.0.0.1:${typeof bound === "object" && bound !== null ? bound.port : 0}`;
  return made;
}
