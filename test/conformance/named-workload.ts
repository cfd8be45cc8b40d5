import type { ServerResponse } from "node:http";
import { createBoth } from "../fakes/both-http.ts";
import { freePort } from "../fakes/free-ports.ts";

export type Behaviour = number | "silent" | "half";

/** An HTTP workload, by either version, that answers its own name. */
export interface NamedWorkload {
  readonly address: string;
  /** Requests that it has answered or begun. */
  readonly served: number;
  /** Connections to it that are open now. */
  readonly connections: number;
  /** From now on: another status, silence, or answers that break off. */
  behave(how: Behaviour): void;
  /** Answers what was left unanswered. */
  release(): void;
  /** As `kill -9` does it: connections are reset, the port is closed. */
  kill(): Promise<void>;
  /** The same port again. */
  revive(): Promise<void>;
  close(): Promise<void>;
}

export async function startNamedWorkload(name: string): Promise<NamedWorkload> {
  let how: Behaviour = 200;
  let served = 0;
  const waiting: ServerResponse[] = [];
  const answer = (response: ServerResponse, status: number) =>
    response.writeHead(status, { "content-length": name.length + 1 }).end(`${name}\n`);
  const server = createBoth((request, response) => {
    served += 1;
    request.resume();
    if (how === "silent") waiting.push(response);
    else if (how === "half") {
      response.writeHead(200, { "content-length": 100 });
      response.write("half", () => setTimeout(() => response.destroy(), 10));
    } else answer(response, how);
  });
  const port = await freePort();
  await server.listen(port);
  return {
    address: `127.0.0.1:${port}`,
    get served() {
      return served;
    },
    get connections() {
      return server.connections;
    },
    behave(next) {
      how = next;
    },
    release() {
      for (const response of waiting.splice(0)) answer(response, 200);
    },
    kill: () => server.close(),
    revive: () => server.listen(port),
    close: () => server.close(),
  };
}
