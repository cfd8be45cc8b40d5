import type { IncomingMessage, ServerResponse } from "node:http";
import { createBoth, plainHeaders } from "./both-http.ts";

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
  /** Accepts requests, and reads and answers nothing. */
  stalls: boolean;
  reset(): void;
  stop(): Promise<void>;
}

/** A real HTTP server (Node's, of either version) that answers with what it got. */
export async function startEchoBackend(backend: string): Promise<EchoBackend> {
  const usual: Behaviour = () => false;
  const made = {
    address: "",
    seen: [] as Echo[],
    behave: usual,
    stalls: false,
    reset() {
      made.behave = usual;
      made.stalls = false;
      made.seen = [];
    },
    stop: () => server.close(),
  };
  const server = createBoth((request, response) => {
    if (made.stalls) return;
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "" } = request;
      const headers = plainHeaders(request.headers);
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
  await server.listen();
  made.address = `127.0.0.1:${server.port}`;
  return made;
}
