import tls, { type TLSSocket } from "node:tls";
import type { Address } from "../../../../federation/model/address.ts";
import { type Problem, PROBLEMS, problem } from "../../../../federation/model/problem.ts";
import { type SpiffeId, systemRole } from "../../../../federation/model/spiffe-id.ts";
import { verifyPeer } from "../../identity/peer-trust.ts";
import type { EventLog } from "../event-log.ts";
import { ignore } from "../relay.ts";
import type { Metrics } from "../counters.ts";
import { listenShared, type PortClaims } from "../shared-port.ts";
import { peerChain, secureContextOptions } from "../tls-context.ts";
import type { TunnelEnvironment } from "../tunnel.ts";
import type { Way } from "./gate.ts";

export interface SecuredProxyOptions {
  readonly env: TunnelEnvironment;
  readonly events: EventLog;
  readonly metrics: Metrics;
  readonly claims: PortClaims;
  readonly accept: (socket: TLSSocket, caller: SpiffeId, way: Way) => void;
}

const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 10_000;

/** The HTTP proxy for workloads that hold their own SVID: one address for all of them, the caller is whose certificate it is. */
export class SecuredProxy {
  readonly #options: SecuredProxyOptions;
  readonly #server: tls.Server;
  readonly #subscriptions: readonly (() => void)[];
  readonly #sockets = new Set<TLSSocket>();

  constructor(options: SecuredProxyOptions) {
    this.#options = options;
    const { credential, trust } = options.env;
    this.#server = tls.createServer({
      ...secureContextOptions(credential.current, trust.current),
      ALPNProtocols: ["http/1.1"],
      requestCert: true,
      // verifyPeer decides after the handshake, so that every refusal has its own code.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("secureConnection", (socket) => this.#onSecure(socket));
    this.#server.on("tlsClientError", (error, socket) => {
      this.#refuse(problem("tls_protocol", error.message), socket.remoteAddress);
      socket.destroy();
    });
    const reload = (): void =>
      this.#server.setSecureContext(secureContextOptions(credential.current, trust.current));
    this.#subscriptions = [credential.subscribe(reload), trust.subscribe(reload)];
  }

  listen(address: Address): Promise<Address> {
    return listenShared(this.#server, address, this.#options.claims);
  }

  /** Stops accepting; connections are the gate's to finish. */
  drain(): void {
    this.#server.close();
  }

  close(): void {
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #onSecure(socket: TLSSocket): void {
    socket.on("error", ignore);
    const { trust, now } = this.#options.env;
    const verified = socket.isSessionReused()
      ? ({ ok: false, error: problem("tls_session_resumed", "the client resumed a session") } as const)
      : verifyPeer(peerChain(socket), trust.current, now());
    if (!verified.ok) return this.#drop(socket, verified.error);
    const { spiffeId } = verified.value;
    // Our own gateways and agents leave by tunnels, for the workload whose token they bring.
    if (systemRole(spiffeId) !== undefined)
      return this.#drop(socket, problem("egress_caller_unknown", `${spiffeId.uri} is no workload`));
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    this.#options.accept(socket, spiffeId, { kind: "proxy" });
  }

  #drop(socket: TLSSocket, reason: Problem): void {
    this.#refuse(reason, socket.remoteAddress);
    socket.destroy();
  }

  #refuse(reason: Problem, peer: string | undefined): void {
    const { metrics, events } = this.#options;
    metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    events.refusal("proxy_refused", reason, { peer: peer ?? "unknown" });
  }
}
