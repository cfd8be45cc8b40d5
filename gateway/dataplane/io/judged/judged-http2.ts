import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { ErrorCode } from "../../http2/error-code.ts";
import type { Stream, StreamHandler } from "../../http2/stream.ts";
import { SessionConduct } from "../../lifecycle/session-conduct.ts";
import { Bag, type Bagged } from "../bag.ts";
import { IDLE_TIMEOUT_MS } from "../client-patience.ts";
import { Http2Session, transportOf } from "../http2-session.ts";
import { abort, ignore, type RelayEnd } from "../relay.ts";
import { WORKLOAD_CONNECTION } from "../tunnel-settings.ts";
import type { RequestHead } from "../../http1/request-head.ts";
import type { JudgingHost } from "./judging-host.ts";
import { JudgedExchange } from "./judged-exchange.ts";

/**
 * One HTTP/2 connection whose requests are each judged and sent to where the host says, as JudgedHttp1 is for HTTP/1.1: of a
 * caller from outside, to a host whose services speak HTTP/2, or of a stream whose requests are read where it arrives.
 */
export class JudgedHttp2 implements Bagged {
  bagSlot = -1;
  readonly #socket: RelayEnd;
  readonly #host: JudgingHost;
  readonly #session: Http2Session;
  readonly #conduct = new SessionConduct("workload");
  readonly #exchanges = new Bag<JudgedExchange>();
  #idleSinceMs: number;

  constructor(socket: RelayEnd, host: JudgingHost, onClosed: () => void) {
    this.#socket = socket;
    this.#host = host;
    this.#idleSinceMs = host.coarseNow;
    this.#session = new Http2Session({ ...WORKLOAD_CONNECTION, role: "server" }, transportOf(socket), {
      onReady: ignore,
      onPong: ignore,
      onGoaway: ignore,
      onFault: ({ detail }) => {
        if (this.#conduct.end()) host.refused(problem("http2_abuse", detail), undefined);
      },
      onNotice: (event) => this.#cut(this.#conduct.notice(event)),
      onRequest: (stream, fields, ended, isTooLarge) => this.#onRequest(stream, fields, ended, isTooLarge),
    });
    if ("setNoDelay" in socket) socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.receive(chunk));
    socket.once("end", () => socket.end());
    socket.once("close", () => {
      this.#session.lost();
      onClosed();
    });
  }

  receive(bytes: Buffer): void {
    this.#host.counters.up.value += bytes.length;
    this.#session.receive(bytes, 0, bytes.length);
  }

  /** The rules have changed: what is under way is judged again. */
  recheck(refusalOf: (head: RequestHead) => Problem | undefined): void {
    for (const exchange of this.#exchanges.all()) exchange.recheck(refusalOf);
  }

  drain(): void {
    this.#session.drain();
  }

  destroy(): void {
    abort(this.#socket);
  }

  /** About once a second. */
  tick(now: number): void {
    this.#cut(this.#conduct.tick());
    for (const exchange of this.#exchanges.all()) exchange.tick(now);
    if (this.#exchanges.size > 0) this.#idleSinceMs = now;
    else if (now - this.#idleSinceMs > IDLE_TIMEOUT_MS) this.drain();
  }

  #onRequest(stream: Stream, fields: readonly string[], ended: boolean, isTooLarge: boolean): StreamHandler {
    const exchange = new JudgedExchange(stream, this.#host, ended, (wasAnswered) => {
      this.#exchanges.delete(exchange);
      if (wasAnswered) this.#conduct.allowReset();
    });
    this.#exchanges.add(exchange);
    exchange.start(fields, isTooLarge);
    return exchange;
  }

  #cut(reason: Problem | undefined): void {
    if (reason === undefined) return;
    this.#host.refused(reason, undefined);
    this.#session.abort(ErrorCode.enhanceYourCalm, reason.detail);
  }
}
