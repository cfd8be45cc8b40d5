import { createServer, type Server } from "node:net";

/**
 * Ports that stay free while their process is away for a moment. A port the kernel picks (listening on 0) lies in the range
 * from which it also picks ports for outgoing connections: under load it would be taken before a restarted process is back.
 */
const LOWEST = 20_000;
const HIGHEST = 32_000;

/** `undefined` when the machine has not that many. `random` spreads federations that start at the same moment. */
export async function findFreePorts(
  count: number,
  host: string,
  random: () => number,
): Promise<readonly number[] | undefined> {
  const held: Server[] = [];
  const found: number[] = [];
  const first = LOWEST + Math.floor(random() * (HIGHEST - LOWEST));
  for (let tried = 0; tried < HIGHEST - LOWEST && found.length < count; tried++) {
    const port = LOWEST + ((first - LOWEST + tried) % (HIGHEST - LOWEST));
    const server = await listen(host, port);
    if (server === undefined) continue;
    held.push(server);
    found.push(port);
  }
  await Promise.all(held.map((server) => new Promise((resolve) => server.close(resolve))));
  return found.length === count ? found : undefined;
}

function listen(host: string, port: number): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(undefined));
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}
