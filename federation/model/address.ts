import { err, ok, type Result } from "./result.ts";

/** Where to dial: a host name or IP address, and a port. */
export interface Address {
  /** Without brackets, also for IPv6. */
  readonly host: string;
  readonly port: number;
}

const ADDRESS = /^(?:\[([0-9a-fA-F:.]+)\]|([a-zA-Z0-9.-]+)):([0-9]{1,5})$/;

/** Reads `host:port` and `[v6]:port`; port 0 is allowed (any free one, for listeners). */
export function parseAddress(text: string): Result<Address> {
  const match = ADDRESS.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  return host !== undefined && port <= 65_535
    ? ok({ host, port })
    : err(`"${text.slice(0, 80)}" is not an address: write host:port or [ipv6]:port`);
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
