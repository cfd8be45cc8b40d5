import http2, { type ClientHttp2Session } from "node:http2";
import tls, { type TLSSocket } from "node:tls";
import { type Address, parseAddress } from "../../../federation/model/address.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { Credential } from "../../../federation/trust/index.ts";
import { type ExpectedPeer, type PeerTrust, verifyPeer } from "../identity/peer-trust.ts";
import { peerChain, secureContextOptions, TUNNEL_ALPN } from "./tls-context.ts";
import {
  DRAIN_HINT,
  MAX_SESSION_MEMORY_MB,
  SESSION_WINDOW_BYTES,
  TUNNEL_SETTINGS,
} from "./tunnel-settings.ts";
import type { OpenedStream, RequestFields } from "./tunnel-stream.ts";

// A handshake needs two round trips; five seconds covers a lossy link and bounds a peer that never answers.
const HANDSHAKE_TIMEOUT_MS = 5_000;
// The gateway probe: a peer that leaves three PINGs in a row unanswered is gone. One is not enough: after a pause of this
// process (a blocked event loop, SIGSTOP) the timer fires before the answer that has long arrived is read.
const PING_PERIOD_MS = 1_000;
const MAX_MISSED_PINGS = 3;

export interface LinkOptions {
  readonly address: string;
  readonly expected: ExpectedPeer;
  readonly credential: Credential;
  readonly trust: PeerTrust;
  readonly now: () => number;
}

export interface LinkEvents {
  onReady(link: Link): void;
  /** The peer wants no more streams on this link; those under way go on. */
  onDraining(link: Link): void;
  /** Exactly once, whatever came before. */
  onLost(link: Link, reason: Problem): void;
}

/** One HTTP/2 session over one mutually authenticated TLS connection that we dialled. */
export class Link {
  streams = 0;
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  readonly #socket: TLSSocket;
  /** By stream id: what to do when that stream's way drains. */
  readonly #drainHooks = new Map<number, () => void>();
  #session: ClientHttp2Session | undefined;
  #timer: NodeJS.Timeout;
  #lost = false;
  #draining = false;
  #missedPings = 0;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    const { host, port } = addressOf(options.address);
    this.#socket = tls.connect({
      ...secureContextOptions(options.credential, options.trust),
      host,
      port,
      // SNI names the trust domain, never an address, so that a passthrough in between can route by it.
      servername: options.expected.trustDomain,
      ALPNProtocols: TUNNEL_ALPN,
      // The verdict is verifyPeer's, after the handshake: OpenSSL's merged CA list proves too little (see peer-trust.ts).
      rejectUnauthorized: false,
    });
    this.#socket.setNoDelay(true);
    this.#timer = setTimeout(
      () => this.#fail("gateway_unreachable", "the handshake took too long"),
      HANDSHAKE_TIMEOUT_MS,
    );
    this.#socket.once("secureConnect", () => this.#onSecure());
    this.#socket.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(error.code?.startsWith("ERR_SSL_") ? "tls_protocol" : "gateway_unreachable", error.message),
    );
    this.#socket.on("close", () => this.#fail("gateway_unreachable", "the peer closed the connection"));
  }

  /** Opens a CONNECT stream; `undefined` when this link takes no more. `onDrain` runs at most once per stream. */
  open(headers: RequestFields, onDrain: () => void): OpenedStream | undefined {
    const session = this.#session;
    if (session === undefined || this.#draining || session.closed || session.destroyed) return undefined;
    const limit = session.remoteSettings?.maxConcurrentStreams ?? 100;
    if (this.streams >= limit) return undefined;
    const stream = session.request(headers, { endStream: false });
    this.streams += 1;
    const { id } = stream;
    if (id !== undefined) this.#drainHooks.set(id, onDrain);
    stream.once("close", () => {
      this.streams -= 1;
      if (id !== undefined) this.#drainHooks.delete(id);
    });
    return stream;
  }

  /** No new streams; ends when the last one does. */
  drain(): void {
    this.#beginDrain();
    if (this.#session === undefined) this.destroy();
    else this.#session.close();
  }

  destroy(): void {
    this.#fail("gateway_unreachable", "closed here");
  }

  /** Ends the link and all of its streams at once. */
  cut(reason: Problem): void {
    this.#fail(reason.name, reason.detail);
  }

  #onSecure(): void {
    const { expected, trust, now } = this.#options;
    if (this.#socket.isSessionReused())
      return this.#fail("tls_session_resumed", "the listener resumed a session");
    if (this.#socket.alpnProtocol !== "h2")
      return this.#fail("tls_protocol", "the listener does not speak h2");
    const verified = verifyPeer(peerChain(this.#socket), trust, now(), expected);
    if (!verified.ok) return this.#fail(verified.error.name, verified.error.detail);
    this.#startSession();
  }

  #startSession(): void {
    const session = http2.connect(`https://${this.#options.expected.trustDomain}`, {
      createConnection: () => this.#socket,
      settings: TUNNEL_SETTINGS,
      maxSessionMemory: MAX_SESSION_MEMORY_MB,
    });
    this.#session = session;
    session.on("error", (error: Error) => this.#fail("upstream_reset", error.message));
    session.on("close", () => this.#fail("upstream_reset", "the session ended"));
    session.on("goaway", () => this.#beginDrain());
    session.on("altsvc", (value, _origin, streamId) => {
      if (value === DRAIN_HINT) this.#drainHooks.get(streamId)?.();
    });
    session.once("connect", () => session.setLocalWindowSize(SESSION_WINDOW_BYTES));
    // Only the peer's SETTINGS prove that it accepted our certificate: in TLS 1.3 our handshake is over before its verdict.
    session.once("remoteSettings", () => {
      clearTimeout(this.#timer);
      this.#timer = setInterval(() => this.#ping(), PING_PERIOD_MS).unref();
      this.#events.onReady(this);
    });
  }

  #ping(): void {
    const session = this.#session;
    if (session === undefined || session.destroyed) return;
    if (this.#missedPings >= MAX_MISSED_PINGS)
      return this.#fail("gateway_unreachable", "the peer answers no PING");
    this.#missedPings += 1;
    session.ping((error) => {
      if (error === null) this.#missedPings = 0;
    });
  }

  #beginDrain(): void {
    if (this.#draining || this.#lost) return;
    this.#draining = true;
    for (const hook of [...this.#drainHooks.values()]) hook();
    this.#events.onDraining(this);
  }

  #fail(name: Problem["name"], detail: string): void {
    if (this.#lost) return;
    this.#lost = true;
    clearTimeout(this.#timer);
    this.#socket.destroy();
    // With an error, since without one node:http2 ends the streams as if each were complete.
    this.#session?.destroy(new Error(detail));
    this.#events.onLost(this, problem(name, detail));
  }
}

function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  // Port 9 (discard) of the loopback refuses at once, so a bad address behaves like an absent peer, with its own back-off.
  return parsed.ok ? parsed.value : { host: "127.0.0.1", port: 9 };
}
