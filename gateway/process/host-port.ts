import { err, ok, type Result } from "../../federation/model/result.ts";

export interface HostPort {
  /** Without brackets. */
  readonly host: string;
  readonly port: number;
}

const HOST_PORT = /^(?:\[([0-9a-fA-F:.]{2,45})\]|([a-zA-Z0-9._-]{1,253})):([0-9]{1,5})$/;

/** `host:port` or `[v6]:port`; port 0 stands for any free one. */
export function parseHostPort(text: string): Result<HostPort> {
  const match = HOST_PORT.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535)
    return err(`"${text}" is not an address: write host:port or [v6]:port`);
  return ok({ host, port });
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}
