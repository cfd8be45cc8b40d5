import { connect, type Socket } from "node:net";

// Opening a thousand at once would measure the backlog of the listener instead.
const AT_A_TIME = 50;
const ANSWER_TIMEOUT_MS = 10_000;

export interface IdleConnections {
  /** How many the other side has closed or failed since. */
  readonly lost: () => number;
  readonly close: () => void;
}

/** Workloads that each made one request and now keep their connection, as pooled HTTP clients do. */
export async function openIdleConnections(port: number, count: number): Promise<IdleConnections> {
  const sockets: Socket[] = [];
  let lost = 0;
  while (sockets.length < count) {
    const batch = Array.from({ length: Math.min(AT_A_TIME, count - sockets.length) }, () =>
      requestOnce(port),
    );
    for (const socket of await Promise.all(batch)) {
      socket.once("close", () => {
        lost += 1;
      });
      sockets.push(socket);
    }
  }
  return {
    lost: () => lost,
    close: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

function requestOnce(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    socket.setTimeout(ANSWER_TIMEOUT_MS, () =>
      socket.destroy(new Error("a workload connection got no answer")),
    );
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("a workload connection was closed before its answer")));
    socket.write("GET / HTTP/1.1\r\nHost: cart.shop.svc.clusterset.local\r\n\r\n");
    let head = "";
    socket.on("data", (chunk: Buffer) => {
      if (head === "") head = chunk.toString("latin1");
      if (!head.startsWith("HTTP/1.1 200 "))
        return reject(new Error(`a workload was answered ${head.split("\r\n")[0]}`));
      socket.setTimeout(0);
      socket.removeAllListeners("close");
      resolve(socket);
    });
  });
}
