import { createSocket, type Socket as UdpSocket } from "node:dgram";
import { once } from "node:events";
import { createServer, isIPv6, type Server, type Socket } from "node:net";
import { type Address, formatAddress } from "../../federation/model/address.ts";
import type { Logger } from "../../federation/model/log.ts";
import { respond } from "./responder.ts";
import type { ImportedServices } from "./zone.ts";

// RFC 7766 §6.2.3 leaves it to the server; few clients come by TCP, and those that keep one open come often.
const TCP_IDLE_MS = 10_000;
const MAX_TCP_CONNECTIONS = 256;
const LENGTH_OCTETS = 2;

export interface DnsServer {
  /** Where it answers, by UDP and by TCP. */
  readonly address: Address;
  close(): void;
}

/** Answers for `clusterset.local` by UDP and TCP on one port; throws what listening throws. */
export async function openDnsServer(
  listen: Address,
  services: ImportedServices,
  log: Logger,
): Promise<DnsServer> {
  const tcp = createServer((socket) => serveTcp(socket, services));
  tcp.maxConnections = MAX_TCP_CONNECTIONS;
  tcp.listen(listen.port, listen.host);
  await once(tcp, "listening");
  const address = { host: listen.host, port: portOf(tcp) };
  try {
    const udp = await openUdp(address, services);
    udp.on("error", (error) => log.warn("dns_send_failed", { detail: error.message }));
    log.info("dns_serving", { listen: formatAddress(address) });
    return {
      address,
      close() {
        udp.close();
        tcp.close();
      },
    };
  } catch (error) {
    tcp.close();
    throw error;
  }
}

async function openUdp({ host, port }: Address, services: ImportedServices): Promise<UdpSocket> {
  const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
  socket.on("message", (message, from) => {
    const response = respond(message, "udp", services);
    // Port 0 cannot be sent to, and nobody honest asks from there.
    if (response !== undefined && from.port !== 0) socket.send(response, from.port, from.address, () => {});
  });
  socket.bind(port, host);
  await once(socket, "listening");
  return socket;
}

/** Messages with their length before them, any number after each other (RFC 7766 §8). */
function serveTcp(socket: Socket, services: ImportedServices): void {
  let kept: Buffer = Buffer.alloc(0);
  socket.setTimeout(TCP_IDLE_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("drain", () => socket.resume());
  socket.on("data", (chunk: Buffer) => {
    kept = kept.length === 0 ? chunk : Buffer.concat([kept, chunk]);
    let isTaken = true;
    while (kept.length >= LENGTH_OCTETS) {
      const end = LENGTH_OCTETS + kept.readUInt16BE(0);
      if (kept.length < end) break;
      const response = respond(kept.subarray(LENGTH_OCTETS, end), "tcp", services);
      kept = kept.subarray(end);
      if (response === undefined) return void socket.destroy();
      const length = Buffer.alloc(LENGTH_OCTETS);
      length.writeUInt16BE(response.length, 0);
      isTaken = socket.write(Buffer.concat([length, response]));
    }
    // Who asks and does not read is not read either.
    if (!isTaken) socket.pause();
  });
}

function portOf(server: Server): number {
  const address = server.address();
  return typeof address === "object" && address !== null ? address.port : 0;
}
