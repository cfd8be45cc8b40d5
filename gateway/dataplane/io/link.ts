import type { OnReadOpts } from "node:net";
import tls, { type ConnectionOptions, type TLSSocket } from "node:tls";
import { type Address, parseAddress } from "../../../federation/model/address.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import type { Credential } from "../../../federation/trust/index.ts";
import type { Notice } from "../http2/connection.ts";
import { type ExpectedPeer, type PeerTrust, verifyPeer } from "../identity/peer-trust.ts";
import { SessionConduct } from "../lifecycle/session-conduct.ts";
import { Bag } from "./bag.ts";
import { Http2Session, socketTransport } from "./http2-session.ts";
import { peerChain, secureContextOptions, TUNNEL_ALPN } from "./tls-context.ts";
import { fieldList, TunnelChannel } from "./tunnel-channel.ts";
import { TUNNEL_CONNECTION } from "./tunnel-settings.ts";
import { ErrorCode, type OpenedStream, type RequestFields } from "./tunnel-stream.ts";

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

const READ_BYTES = 64 * 1024;

/** What any peer sends is decrypted into here and handed on before the next read: no buffer per TLS record. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/** One HTTP/2 session over one mutually authenticated TLS connection that we dialled. */
export class Link {
  readonly #options: LinkOptions;
  readonly #events: LinkEvents;
  readonly #socket: TLSSocket;
  /** Of streams that we opened: each is told when the way drains. */
  readonly #channels = new Bag<TunnelChannel>();
  #session: Http2Session | undefined;
  #timer: NodeJS.Timeout;
  #lost = false;
  #draining = false;
  #missedPings = 0;
  readonly #conduct = new SessionConduct("tunnel");
  /** The kernel at the address said that nobody listens there. */
  wasRefused = false;

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#options = options;
    this.#events = events;
    const { host, port } = addressOf(options.address);
    const connection: ConnectionOptions & { readonly onread: OnReadOpts } = {
      ...secureContextOptions(options.credential, options.trust),
      host,
      port,
      // SNI names the trust domain, never an address, so that a passthrough in between can route by it.
      servername: options.expected.trustDomain,
      ALPNProtocols: TUNNEL_ALPN,
      onread: { buffer: shared, callback: (length, buffer) => this.#onRead(length, buffer) },
      // The verdict is verifyPeer's, after the handshake: OpenSSL's merged CA list proves too little (see peer-trust.ts).
      rejectUnauthorized: false,
    };
    this.#socket = tls.connect(connection);
    this.#socket.setNoDelay(true);
    this.#timer = setTimeout(
      () => this.#fail("gateway_unreachable", "the handshake took too long"),
      HANDSHAKE_TIMEOUT_MS,
    );
    this.#socket.once("secureConnect", () => this.#onSecure());
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      this.wasRefused = error.code === "ECONNREFUSED";
      this.#fail(error.code?.startsWith("ERR_SSL_") ? "tls_protocol" : "gateway_unreachable", error.message);
    });
    this.#socket.on("close", () => this.#fail("gateway_unreachable", "the peer closed the connection"));
  }

  get streams(): number {
    return this.#session?.connection.streams ?? 0;
  }

  /** Opens a CONNECT stream; `undefined` when this link takes no more. `onDrain` runs at most once per stream. */
  open(headers: RequestFields, onDrain: () => void): OpenedStream | undefined {
    if (this.#draining) return undefined;
    const channel = new TunnelChannel(onDrain);
    const stream = this.#session?.connection.request(fieldList(headers), false, channel);
    if (stream === undefined) return undefined;
    this.#channels.add(channel);
    channel.once("close", () => this.#channels.delete(channel));
    return channel.attach(stream);
  }

  /** No new streams; ends when the last one does. */
  drain(): void {
    this.#beginDrain();
    if (this.#session === undefined) this.destroy();
    else this.#session.drain();
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
    this.#session = new Http2Session(
      { ...TUNNEL_CONNECTION, role: "client" },
      socketTransport(this.#socket),
      {
        // Only the peer's SETTINGS prove that it accepted our certificate: in TLS 1.3 our handshake is over before its verdict.
        onReady: () => this.#onReady(),
        onPong: () => {
          this.#missedPings = 0;
        },
        onGoaway: (code, detail) => this.#onGoaway(code, detail),
        onFault: ({ detail }) => this.#fail("upstream_reset", detail),
        onNotice: (event) => this.#onNotice(event),
        onRequest: () => new TunnelChannel(),
      },
    );
  }

  #onRead(length: number, buffer: Uint8Array): boolean {
    this.#session?.receive(buffer as Buffer, 0, length);
    return true;
  }

  #onReady(): void {
    clearTimeout(this.#timer);
    this.#timer = setInterval(() => this.#ping(), PING_PERIOD_MS).unref();
    this.#events.onReady(this);
  }

  #onGoaway(code: number, detail: string): void {
    if (code === ErrorCode.noError) this.#beginDrain();
    else this.#fail("upstream_reset", `the peer gave up: GOAWAY ${code} ${detail}`);
  }

  /** A listener has the same manners to keep as a dialler. */
  #onNotice(event: Notice): void {
    const reason = this.#conduct.notice(event);
    if (reason !== undefined) this.#fail(reason.name, reason.detail);
  }

  #ping(): void {
    this.#conduct.tick();
    if (this.#missedPings >= MAX_MISSED_PINGS)
      return this.#fail("gateway_unreachable", "the peer answers no PING");
    this.#missedPings += 1;
    this.#session?.connection.ping();
  }

  #beginDrain(): void {
    if (this.#draining || this.#lost) return;
    this.#draining = true;
    for (const channel of this.#channels.all()) channel.hintedDrain();
    this.#events.onDraining(this);
  }

  #fail(name: Problem["name"], detail: string): void {
    if (this.#lost) return;
    this.#lost = true;
    clearTimeout(this.#timer);
    this.#session?.lost();
    this.#socket.destroy();
    this.#events.onLost(this, problem(name, detail));
  }
}

function addressOf(text: string): Address {
  const parsed = parseAddress(text);
  // Port 9 (discard) of the loopback refuses at once, so a bad address behaves like an absent peer, with its own back-off.
  return parsed.ok ? parsed.value : { host: "127.0.0.1", port: 9 };
}
