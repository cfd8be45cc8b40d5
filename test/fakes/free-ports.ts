import { findFreePorts } from "../../federation/cli/up/ports.ts";

/**
 * Ports for servers that are named before they listen, or that go and come back: never one that the kernel picked, since it
 * gives those to outgoing connections too, while nobody listens.
 */
export async function freePorts(count: number, host = "127.0.0.1"): Promise<readonly number[]> {
  const found = await findFreePorts(count, host, Math.random);
  if (found === undefined) throw new Error(`this machine has not ${count} free ports on ${host}`);
  return found;
}

export async function freePort(host?: string): Promise<number> {
  const [port = 0] = await freePorts(1, host);
  return port;
}
