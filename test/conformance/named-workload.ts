import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** An HTTP workload that answers its own name. */
export interface NamedWorkload {
  readonly address: string;
  /** Requests that it has answered or begun. */
  readonly served: number;
  /** From now on: another status, or silence until it is changed back. */
  behave(how: number | "silent"): void;
  /** Answers what was left unanswered. */
  release(): void;
  /** As `kill -9` does it: connections are reset, the port is closed. */
  kill(): Promise<void>;
  /** The same port again. */
  revive(): Promise<void>;
  close(): Promise<void>;
}

export async function startNamedWorkload(name: string): Promise<NamedWorkload> {
  let how: number | "silent" = 200;
  let served = 0;
  const waiting: ServerResponse[] = [];
  const answer = (response: ServerResponse, status: number) =>
    response.writeHead(status, { "content-length": name.length + 1 }).end(`${name}\n`);
  const server = createServer((request, response) => {
    served += 1;
    request.resume();
    if (how === "silent") waiting.push(response);
    else answer(response, how);
  });
  const listen = async (port: number) => {
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const kill = async () => {
    if (!server.listening) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return {
    address: `127.0.0.1:${port}`,
    get served() {
      return served;
    },
    behave(next) {
      how = next;
    },
    release() {
      for (const response of waiting.splice(0)) answer(response, 200);
    },
    kill,
    revive: () => listen(port),
    close: kill,
  };
}
