import http2, { type ServerHttp2Session, type ServerHttp2Stream } from "node:http2";
import type { DropArgument } from "node:net";
import tls, { type TLSSocket } from "node:tls";
import { type Address, formatAddress } from "../../../federation/model/address.ts";
import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { type Peer, trustsDomain, verifyPeer } from "../identity/peer-trust.ts";
import { SessionConduct } from "../lifecycle/session-conduct.ts";
import { localReply } from "../policy/local-reply.ts";
import type { Metrics } from "./counters.ts";
import type { EventLog } from "./event-log.ts";
import { abort, ignore } from "./relay.ts";
import { listenShared, type PortClaims } from "./shared-port.ts";
import { TICK_MS } from "./ticker.ts";
import { peerChain, secureContextOptions, TUNNEL_ALPN } from "./tls-context.ts";
import type { TunnelEnvironment } from "./tunnel.ts";
import {
  DRAIN_HINT,
  MAX_SESSION_MEMORY_MB,
  MAX_STREAMS_PER_SESSION,
  SESSION_WINDOW_BYTES,
  TUNNEL_HEADER,
  TUNNEL_SETTINGS,
} from "./tunnel-settings.ts";
import { ErrorCode, type ReceivedFields, type ServedStream } from "./tunnel-stream.ts";

const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 4_096;
// A workload crowd that leaves at once resets as many streams as it had; a flood goes on.
const RESET_BURST = MAX_STREAMS_PER_SESSION;
const RESETS_PER_SECOND = 500;
// Code of a session that ended because its peer sent GOAWAY with an error.
const PEER_GAVE_UP = "ERR_HTTP2_SESSION_ERROR";

/** A CONNECT request from a verified peer; the handler answers on `stream`. */
export interface TunnelRequest {
  readonly stream: ServedStream;
  readonly headers: ReceivedFields;
  readonly peer: Peer;
}

export interface TunnelServerOptions {
  readonly env: TunnelEnvironment;
  readonly events: EventLog;
  readonly metrics: Metrics;
  readonly claims: PortClaims;
  readonly onRequest: (request: TunnelRequest) => void;
}

interface ServedSession {
  readonly session: ServerHttp2Session;
  readonly socket: TLSSocket;
  readonly peer: Peer;
  readonly conduct: SessionConduct;
}

/** Listens for tunnels: TLS 1.3, client certificate, identity verified before the first HTTP/2 byte is read. */
export class TunnelServer {
  readonly #options: TunnelServerOptions;
  readonly #server: tls.Server;
  readonly #sessions = new Set<ServedSession>();
  readonly #subscriptions: readonly (() => void)[];
  readonly #sweeper: NodeJS.Timeout;

  constructor(options: TunnelServerOptions) {
    this.#options = options;
    const { credential, trust, now } = options.env;
    this.#server = tls.createServer({
      ...secureContextOptions(credential.current, trust.current),
      ALPNProtocols: TUNNEL_ALPN,
      requestCert: true,
      // verifyPeer decides after the handshake, so that every refusal has its own code (see peer-trust.ts).
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    const crowded = problem("overloaded", `more than ${MAX_CONNECTIONS} tunnel connections`);
    this.#server.on("drop", (data?: DropArgument) =>
      this.#refused(crowded, data?.remoteAddress ?? "unknown"),
    );
    this.#server.on("secureConnection", (socket) => this.#onSecure(socket));
    this.#server.on("tlsClientError", (error, socket) => {
      this.#refused(problem("tls_protocol", error.message), remoteOf(socket));
      socket.destroy();
    });
    const reload = () =>
      this.#server.setSecureContext(secureContextOptions(credential.current, trust.current));
    this.#subscriptions = [
      credential.subscribe(reload),
      trust.subscribe(() => (reload(), this.#cutUntrusted())),
    ];
    this.#sweeper = setInterval(() => this.#sweep(now()), TICK_MS).unref();
  }

  /** A successor may listen on the same address while this process drains. */
  async listen(address: Address): Promise<Address> {
    const bound = await listenShared(this.#server, address, this.#options.claims);
    this.#server.on("error", (error: Error) =>
      this.#options.env.log.error("listener_failed", { detail: error.message }),
    );
    return bound;
  }

  /** Stops accepting, tells every peer to go elsewhere, and resolves when the last session ended by itself. */
  drain(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const { session } of this.#sessions) session.close();
    });
  }

  close(): void {
    clearInterval(this.#sweeper);
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#server.close();
    for (const { socket } of this.#sessions) socket.destroy();
  }

  #onSecure(socket: TLSSocket): void {
    socket.on("error", ignore);
    const verdict = this.#verify(socket);
    if (!verdict.ok) {
      this.#refused(verdict.error, remoteOf(socket));
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    this.#serve(socket, verdict.value);
  }

  #verify(socket: TLSSocket) {
    const { trust, now } = this.#options.env;
    if (socket.isSessionReused()) {
      return { ok: false, error: problem("tls_session_resumed", "the client resumed a session") } as const;
    }
    if (socket.alpnProtocol !== "h2") {
      return { ok: false, error: problem("tls_protocol", "the client did not offer ALPN h2") } as const;
    }
    return verifyPeer(peerChain(socket), trust.current, now());
  }

  #serve(socket: TLSSocket, peer: Peer): void {
    const { onRequest } = this.#options;
    const session = http2.performServerHandshake(socket, {
      settings: TUNNEL_SETTINGS,
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
      streamResetBurst: RESET_BURST,
      streamResetRate: RESETS_PER_SECOND,
    });
    const conduct = new SessionConduct();
    const served: ServedSession = { session, socket, peer, conduct };
    this.#sessions.add(served);
    session.setLocalWindowSize(SESSION_WINDOW_BYTES);
    session.on("error", (error: NodeJS.ErrnoException) => this.#onSessionError(served, error));
    session.on("close", () => this.#sessions.delete(served));
    session.on("ping", () => this.#cut(served, conduct.control()));
    session.on("remoteSettings", () => this.#cut(served, conduct.control()));
    session.on("stream", (stream, headers) => {
      stream.on("error", ignore);
      if (headers[":method"] === "CONNECT") onRequest({ stream, headers, peer });
      else stream.close(ErrorCode.refusedStream);
      if (stream.closed) this.#cut(served, conduct.refusal());
    });
  }

  /** A peer that dies is no offender; what node:http2 objects to in its frames is. */
  #onSessionError({ conduct, peer }: ServedSession, error: NodeJS.ErrnoException): void {
    const detail = error.message;
    const isOffence = error.code?.startsWith("ERR_HTTP2_") === true && error.code !== PEER_GAVE_UP;
    if (conduct.isOver) return;
    if (isOffence) this.#refused(problem("tunnel_abuse", detail), peer.spiffeId.uri);
    else this.#options.env.log.info("tunnel_lost", { peer: peer.spiffeId.uri, detail });
  }

  #cut({ session, peer }: ServedSession, reason: Problem | undefined): void {
    if (reason === undefined) return;
    this.#refused(reason, peer.spiffeId.uri);
    session.destroy(new Error(reason.detail), ErrorCode.enhanceYourCalm);
  }

  #cutUntrusted(): void {
    const trust = this.#options.env.trust.current;
    for (const { socket, peer } of this.#sessions) {
      if (trustsDomain(peer.spiffeId.trustDomain, trust)) continue;
      this.#refused(
        problem("peer_denied", `${peer.spiffeId.trustDomain} is no longer trusted`),
        peer.spiffeId.uri,
      );
      socket.destroy();
    }
  }

  /** Sessions whose certificate ran out get no new streams: a live peer has dialled anew long before. */
  #sweep(now: number): void {
    for (const served of this.#sessions) {
      if (now > served.peer.notAfterMs) served.session.close();
      this.#cut(served, served.conduct.tick());
    }
  }

  #refused(reason: Problem, peer: string): void {
    this.#options.metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    this.#options.events.refusal("peer_refused", reason, { peer });
  }
}

/** Whether an answer can still be sent: on a stream that its peer reset, `respond` throws before `destroyed` is true. */
export function isUnanswered(stream: ServedStream): boolean {
  return !stream.destroyed && !stream.closed && !stream.headersSent;
}

/** Answers a tunnel request with a refusal; peers are verified, so they may know the reason. */
export function refuseTunnel(stream: ServedStream, reason: Problem): void {
  if (!isUnanswered(stream)) return abort(stream);
  stream.respond(
    {
      ":status": localReply(reason.name).http,
      [TUNNEL_HEADER.code]: PROBLEMS[reason.name].code,
      [TUNNEL_HEADER.detail]: headerText(reason.detail),
    },
    { endStream: true },
  );
  stream.close(ErrorCode.noError);
}

/** Tells the hop before that this stream's way is draining: it must not be used for another request. */
export function hintDrain(stream: ServedStream): void {
  // Every served stream is one of node:http2's, and a server stream's session is a server session.
  const { session } = stream as ServerHttp2Stream;
  const { id } = stream;
  if (stream.destroyed || session === undefined || session.destroyed || id === undefined) return;
  (session as ServerHttp2Session).altsvc(DRAIN_HINT, id);
}

const MAX_DETAIL = 512;

function headerText(text: string): string {
  return text.slice(0, MAX_DETAIL).replace(/[^\x20-\x7e]/g, "?");
}

function remoteOf(socket: {
  readonly remoteAddress?: string | undefined;
  readonly remotePort?: number | undefined;
}): string {
  return socket.remoteAddress === undefined
    ? "unknown"
    : formatAddress({ host: socket.remoteAddress, port: socket.remotePort ?? 0 });
}
