import type { Socket } from "node:net";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { ErrorCode } from "../http2/error-code.ts";
import type { Stream } from "../http2/stream.ts";
import { SessionConduct } from "../lifecycle/session-conduct.ts";
import { IDLE_TIMEOUT_MS } from "./client-patience.ts";
import { Bag, type Bagged } from "./bag.ts";
import { type ExchangeHost, Http2Exchange } from "./http2-exchange.ts";
import { Http2Session, socketTransport } from "./http2-session.ts";
import { ignore } from "./relay.ts";
import { WORKLOAD_CONNECTION } from "./tunnel-settings.ts";

/** What the listener does for its connections. */
export interface Http2Host extends ExchangeHost {
  closedHttp2(connection: Http2Connection): void;
}

/** One workload's HTTP/2 connection: each of its requests goes its own way. */
export class Http2Connection implements Bagged {
  bagSlot = -1;
  readonly socket: Socket;
  readonly #host: Http2Host;
  readonly #session: Http2Session;
  readonly #conduct = new SessionConduct("workload");
  readonly #exchanges = new Bag<Http2Exchange>();
  readonly #onFinished = (exchange: Http2Exchange): void => {
    this.#exchanges.delete(exchange);
    if (exchange.wasAnswered) this.#conduct.allowReset();
    this.#idleSinceMs = this.#host.coarseNow;
  };
  #idleSinceMs: number;
  #drainTicks = 0;

  constructor(socket: Socket, host: Http2Host) {
    this.socket = socket;
    this.#host = host;
    this.#idleSinceMs = host.coarseNow;
    this.#session = new Http2Session({ ...WORKLOAD_CONNECTION, role: "server" }, socketTransport(socket), {
      onReady: ignore,
      onPong: ignore,
      onGoaway: ignore,
      onFault: ({ detail }) => this.#onFault(detail),
      onNotice: (event) => this.#cut(this.#conduct.notice(event)),
      onRequest: (stream, fields, _ended, isTooLarge) => this.#onRequest(stream, fields, isTooLarge),
    });
    socket.on("error", ignore);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    // No HTTP/2 client half-closes: one that ends is gone, and what it asked for is cancelled.
    socket.once("end", () => socket.end());
    socket.once("close", () => {
      this.#session.lost();
      host.closedHttp2(this);
    });
  }

  receive(bytes: Buffer): void {
    this.#session.receive(bytes, 0, bytes.length);
  }

  /** The rules have changed. */
  recheck(): void {
    for (const exchange of this.#exchanges.all()) exchange.recheck();
  }

  /**
   * Goes on with draining, once a second: the client is told, and a whole second later no request is taken any more. One that crossed
   * the GOAWAY would be refused else, and many clients do not send it again.
   */
  drain(): void {
    this.#drainTicks += 1;
    if (this.#drainTicks === 1) this.#session.connection.announceDrain();
    else if (this.#drainTicks > 2) this.#session.drain();
  }

  /** About once a second. */
  tick(now: number): void {
    this.#cut(this.#conduct.tick());
    for (const exchange of this.#exchanges.all()) exchange.tick(now);
    if (this.#exchanges.size === 0 && now - this.#idleSinceMs > IDLE_TIMEOUT_MS) this.drain();
  }

  #onRequest(stream: Stream, fields: readonly string[], isTooLarge: boolean): Http2Exchange {
    const exchange = new Http2Exchange(this.#host, stream, this.#onFinished);
    this.#exchanges.add(exchange);
    exchange.start(fields, isTooLarge);
    return exchange;
  }

  #onFault(detail: string): void {
    if (this.#conduct.end()) this.#host.entry.refused(problem("http2_abuse", detail));
  }

  #cut(reason: Problem | undefined): void {
    if (reason === undefined) return;
    this.#host.entry.refused(reason);
    this.#session.abort(ErrorCode.enhanceYourCalm, reason.detail);
  }
}
