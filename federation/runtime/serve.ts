import { createAdaptorServer } from "@hono/node-server";
import { createServer, type Server } from "node:http";
import { type Address, formatAddress } from "../model/address.ts";
import { type Problem, problem } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";

/** Slow heads and bodies are cut: Node's own defaults hold a connection for minutes. */
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2_000,
  // Longer than a long-poll, so that a member's next one finds the connection open.
  keepAliveTimeout: 75_000,
  maxHeaderSize: 32 * 1024,
} as const;
const MAX_CONNECTIONS = 25_000;

/** What is under way at the end gets this long; waiting polls are answered at once. */
const DRAIN_MS = 2_000;

export interface Listening {
  readonly address: string;
  /** Stops accepting, and resolves when the last request is answered or its time is over. */
  close(): Promise<void>;
}

export function listen(
  fetch: (request: Request) => Response | Promise<Response>,
  address: Address,
): Promise<Result<Listening, Problem>> {
  // The adapter hands its own bindings over as a second argument, which is not for us.
  const only = (request: Request) => fetch(request);
  const server = createAdaptorServer({ fetch: only, createServer, serverOptions: LIMITS }) as Server;
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve) => {
    server.once("error", (cause: NodeJS.ErrnoException) => resolve(err(listenProblem(address, cause))));
    server.listen({ host: address.host, port: address.port }, () => {
      server.removeAllListeners("error");
      resolve(ok({ address: boundAddress(server), close: () => close(server) }));
    });
  });
}

function boundAddress(server: Server): string {
  const bound = server.address();
  if (bound === null || typeof bound === "string") throw new TypeError("a TCP server has an address");
  return formatAddress({ host: bound.address, port: bound.port });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

function listenProblem(address: Address, cause: NodeJS.ErrnoException): Problem {
  const text = formatAddress(address);
  if (cause.code === "EADDRINUSE") return problem("port_in_use", `${text} is taken`);
  return problem("config_invalid", `cannot listen on ${text}: ${cause.message}`);
}
