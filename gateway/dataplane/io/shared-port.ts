import net from "node:net";
import type { Address } from "../../../federation/model/address.ts";

/** Which ports the processes of this cluster share among themselves. */
export interface PortClaims {
  /** Whether another live process of this cluster has claimed the port. */
  isShared(port: number): boolean;
  claim(port: number): void;
}

/**
 * Listens with SO_REUSEPORT, so that replicas and successors share an address without a gap. The kernel would share it with
 * any program of the same user, so a port that nobody of ours claimed must be free. Rejects with EADDRINUSE when it is not.
 */
export async function listenShared(
  server: net.Server,
  address: Address,
  claims: PortClaims,
): Promise<Address> {
  const { host, port } = address;
  if (port !== 0) {
    if (!claims.isShared(port))
      await listenOnce(net.createServer(), { host, port, exclusive: true }).then(closeServer);
    claims.claim(port);
  }
  await listenOnce(server, { host, port, reusePort: true, backlog: LISTEN_BACKLOG });
  const bound = server.address();
  return { host, port: typeof bound === "object" && bound !== null ? bound.port : port };
}

const LISTEN_BACKLOG = 1_024;

function listenOnce(server: net.Server, options: net.ListenOptions): Promise<net.Server> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(options, () => {
      server.off("error", reject);
      resolve(server);
    });
  });
}

function closeServer(server: net.Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}
