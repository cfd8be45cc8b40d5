import type { Socket } from "node:net";
import { detectAtLast, detectProtocol, type Spoken } from "../routing/detect-protocol.ts";
import type { Bagged } from "./bag.ts";
import { ignore } from "./relay.ts";
import type { TcpConnection } from "./tcp-connection.ts";

/**
 * How long a client may take to say what it speaks. It runs beside its agent, so that its first bytes come within
 * milliseconds; a protocol in which the server speaks first waits this long, once per connection, unless it is declared.
 */
export const DETECT_WITHIN_MS = 300;

/** What was decided, in words for `status`. */
export const DETECTED_BY = {
  http1: "HTTP/1.1 (a request line)",
  http2: "HTTP/2 (its preface)",
  tls: "TCP (a TLS ClientHello)",
  tcp: "TCP (first bytes of no HTTP)",
  serverFirst: `TCP (the client was silent for ${DETECT_WITHIN_MS} ms, the server spoke first)`,
} as const;
export type DetectedBy = keyof typeof DETECTED_BY;

export interface DetectionHost {
  /** Takes the socket over; its bytes lie unread in it. `abandoned` is the silent connection that it was until now. */
  serve(socket: Socket, spoken: Spoken, abandoned: TcpConnection | undefined): void;
  /** Opens the way for a connection whose client is silent; nothing of the client's is read. */
  openSilent(socket: Socket, onServerFirst: () => void): TcpConnection;
  detected(by: DetectedBy): void;
  /** Decided, or `gone`: closed before anybody took it over. */
  left(connection: UndecidedConnection, gone: boolean): void;
}

/**
 * A connection to a port whose protocol nobody declared. After the time for it a silent client is connected as for TCP,
 * since the server may be the one to speak first; whichever side then speaks, decides. So an HTTP client that connects long
 * before its first request is served as HTTP all the same.
 */
export class UndecidedConnection implements Bagged {
  bagSlot = -1;
  readonly socket: Socket;
  readonly #host: DetectionHost;
  readonly #timer: NodeJS.Timeout;
  readonly #onReadable = (): void => this.#look(false);
  readonly #onClose = (): void => this.#leave(this.#silent === undefined);
  #silent: TcpConnection | undefined;
  /** Bytes that were looked at already. */
  #seen = 0;

  constructor(socket: Socket, host: DetectionHost) {
    this.socket = socket;
    this.#host = host;
    this.#timer = setTimeout(() => this.#onTime(), DETECT_WITHIN_MS);
    socket.on("error", ignore);
    socket.on("readable", this.#onReadable);
    socket.once("close", this.#onClose);
  }

  /** `readable` without bytes is the end of the client's half: for all we know the server is to speak. */
  #look(timeIsOver: boolean): void {
    const ended = this.socket.readableLength === 0;
    // Putting bytes back makes the socket readable again: without news there is nothing to look at.
    if (!ended && !timeIsOver && this.socket.readableLength === this.#seen) return;
    this.#seen = this.socket.readableLength;
    const bytes = peek(this.socket);
    const detection = ended || timeIsOver ? detectAtLast(bytes) : detectProtocol(bytes);
    if (detection === "more") return;
    if (bytes.length > 0) this.#host.detected(detection);
    this.#decide(detection);
  }

  #onTime(): void {
    if (this.socket.readableLength > 0) return this.#look(true);
    this.#silent = this.#host.openSilent(this.socket, () => {
      this.#host.detected("serverFirst");
      this.#leave(false);
    });
  }

  #decide(spoken: Spoken): void {
    const silent = this.#silent;
    this.#leave(false);
    if (silent !== undefined && (spoken === "tcp" || spoken === "tls")) return silent.release();
    silent?.abandon();
    this.#host.serve(this.socket, spoken, silent);
  }

  #leave(gone: boolean): void {
    clearTimeout(this.#timer);
    this.socket.off("readable", this.#onReadable);
    this.socket.off("close", this.#onClose);
    this.#host.left(this, gone);
  }
}

/** What has arrived, left where it is. */
function peek(socket: Socket): Buffer {
  const bytes: unknown = socket.readableLength === 0 ? null : socket.read();
  if (!Buffer.isBuffer(bytes)) return Buffer.alloc(0);
  socket.unshift(bytes);
  return bytes;
}
