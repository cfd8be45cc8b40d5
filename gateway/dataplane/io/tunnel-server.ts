import type { DropArgument } from "node:net";
import tls, { type TLSSocket } from "node:tls";
import { type Address, formatAddress } from "../../../federation/model/address.ts";
import { type Problem, PROBLEMS, problem } from "../../../federation/model/problem.ts";
import { type Peer, trustsDomain, verifyPeer } from "../identity/peer-trust.ts";
import type { Stream } from "../http2/stream.ts";
import { SessionConduct } from "../lifecycle/session-conduct.ts";
import { localReply } from "../policy/local-reply.ts";
import type { Metrics } from "./counters.ts";
import type { EventLog } from "./event-log.ts";
import { Http2Session, socketTransport } from "./http2-session.ts";
import { abort, ignore } from "./relay.ts";
import { listenShared, type PortClaims } from "./shared-port.ts";
import { TICK_MS } from "./ticker.ts";
import { peerChain, secureContextOptions, TUNNEL_ALPN } from "./tls-context.ts";
import type { TunnelEnvironment } from "./tunnel.ts";
import { receivedFields, TunnelChannel } from "./tunnel-channel.ts";
import { TUNNEL_CONNECTION, TUNNEL_HEADER } from "./tunnel-settings.ts";
import { ErrorCode, type ReceivedFields, type ServedStream } from "./tunnel-stream.ts";

const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 4_096;
const MAX_WAITING = 256;

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
  readonly session: Http2Session;
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
  /** Connections of peers that only the first snapshot can tell apart from strangers. */
  #waiting = 0;

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
      for (const { session } of this.#sessions) session.drain();
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
      if (this.#mayYetBeKnown(verdict.error)) return this.#awaitTrust(socket);
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

  #mayYetBeKnown({ name }: Problem): boolean {
    // Of a domain's CAs, some become known with the first snapshot only.
    const isUnknown = name === "peer_trust_domain_unknown" || name === "peer_certificate_untrusted";
    return isUnknown && !this.#options.env.trust.current.isComplete && this.#waiting < MAX_WAITING;
  }

  /** Peers that had their snapshot sooner than we dial at once: they are judged when ours is there, or when patience ends. */
  #awaitTrust(socket: TLSSocket): void {
    this.#waiting += 1;
    const judge = (): void => {
      clearTimeout(timer);
      unsubscribe();
      socket.off("close", judge);
      this.#waiting -= 1;
      if (!socket.destroyed) this.#onSecure(socket);
    };
    const unsubscribe = this.#options.env.trust.subscribe(judge);
    const timer = setTimeout(() => {
      const verdict = this.#verify(socket);
      if (!verdict.ok) this.#refused(verdict.error, remoteOf(socket));
      socket.destroy();
    }, HANDSHAKE_TIMEOUT_MS);
    socket.once("close", judge);
  }

  #serve(socket: TLSSocket, peer: Peer): void {
    const conduct = new SessionConduct("tunnel");
    const session = new Http2Session({ ...TUNNEL_CONNECTION, role: "server" }, socketTransport(socket), {
      onReady: ignore,
      onPong: ignore,
      onGoaway: (code, detail) => this.#onGoaway(served, code, detail),
      onFault: ({ detail }) => this.#onOffence(served, problem("tunnel_abuse", detail)),
      onNotice: (event) => this.#cut(served, conduct.notice(event)),
      onRequest: (stream, fields, _ended, isTooLarge) => this.#onRequest(served, stream, fields, isTooLarge),
    });
    const served: ServedSession = { session, socket, peer, conduct };
    this.#sessions.add(served);
    socket.on("data", (chunk: Buffer) => session.receive(chunk, 0, chunk.length));
    socket.once("close", () => {
      this.#sessions.delete(served);
      session.lost();
    });
  }

  #onRequest(
    served: ServedSession,
    stream: Stream,
    fields: readonly string[],
    isTooLarge: boolean,
  ): TunnelChannel {
    const channel = new TunnelChannel().attach(stream);
    const headers = receivedFields(fields);
    if (isTooLarge) channel.close(ErrorCode.enhanceYourCalm);
    else if (headers[":method"] !== "CONNECT") channel.close(ErrorCode.refusedStream);
    else this.#options.onRequest({ stream: channel, headers, peer: served.peer });
    if (channel.closed) this.#cut(served, served.conduct.notice("stream-error"));
    return channel;
  }

  /** A peer that drains says NO_ERROR; one that blames us for something is worth a line. */
  #onGoaway({ peer }: ServedSession, code: number, detail: string): void {
    if (code === ErrorCode.noError) return;
    this.#options.env.log.info("tunnel_lost", {
      peer: peer.spiffeId.uri,
      detail: `GOAWAY ${code} ${detail}`,
    });
  }

  #onOffence({ conduct, peer }: ServedSession, reason: Problem): void {
    if (conduct.end()) this.#refused(reason, peer.spiffeId.uri);
  }

  #cut({ session, peer }: ServedSession, reason: Problem | undefined): void {
    if (reason === undefined) return;
    this.#refused(reason, peer.spiffeId.uri);
    session.abort(ErrorCode.enhanceYourCalm, reason.detail);
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
      if (now > served.peer.notAfterMs) served.session.drain();
      this.#cut(served, served.conduct.tick());
    }
  }

  #refused(reason: Problem, peer: string): void {
    this.#options.metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    this.#options.events.refusal("peer_refused", reason, { peer });
  }
}

/** Whether an answer can still be sent. */
export function isUnanswered(stream: ServedStream): boolean {
  return !stream.closed && !stream.headersSent;
}

/** Answers a tunnel request with a refusal; peers are verified, so they may know the reason. */
/** `endpoint`: the one that the refusal is about, so that another try can avoid it. */
export function refuseTunnel(stream: ServedStream, reason: Problem, endpoint?: string): void {
  if (!isUnanswered(stream)) return abort(stream);
  stream.respond(
    {
      ":status": localReply(reason.name).http,
      [TUNNEL_HEADER.code]: PROBLEMS[reason.name].code,
      [TUNNEL_HEADER.detail]: headerText(reason.detail),
      ...(endpoint === undefined ? undefined : { [TUNNEL_HEADER.endpoint]: endpoint }),
    },
    { endStream: true },
  );
  stream.close(ErrorCode.noError);
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
