import type { Socket } from "node:net";
import { problem } from "../../../federation/model/problem.ts";
import { err, ok } from "../../../federation/model/result.ts";
import { externalStream } from "./external/external-stream.ts";
import { Http1Way } from "./external/http1-way.ts";
import { Http2Upstream } from "./external/http2-upstream.ts";
import type { Acquired, ExchangePool, UpstreamExchange } from "./judged/upstream-exchange.ts";
import { Http1Stream } from "./http1-stream.ts";
import type { OpenedStream } from "./tunnel-stream.ts";

/** The one connection to the endpoint that the stream stands for: when it is gone, so is the stream. */
export interface EndpointWay extends ExchangePool {
  close(): void;
}

const NOTHING = err(problem("upstream_reset", "the endpoint is gone, or busy with another request"));

export class Http1Endpoint implements EndpointWay {
  readonly #stream: Http1Stream;
  #isIdle = true;

  constructor(endpoint: Socket, onGone: () => void) {
    const home = { put: () => void (this.#isIdle = true), remove: onGone };
    this.#stream = new Http1Stream(openedStream(endpoint), home, true);
  }

  take(): UpstreamExchange | undefined {
    if (!this.#isIdle || !this.#stream.usable) return undefined;
    this.#isIdle = false;
    return new Http1Way(this.#stream);
  }

  acquire(_http1: boolean, done: Acquired): void {
    done(NOTHING);
  }

  close(): void {
    if (this.#isIdle) this.#stream.drain();
    else this.#stream.abort();
  }
}

export class Http2Endpoint implements EndpointWay {
  readonly #session: Http2Upstream;
  /** Requests beyond what the endpoint takes at a time; whoever sent them could not know. */
  readonly #waiting: Acquired[] = [];
  #isGone = false;

  constructor(endpoint: Socket, onGone: () => void) {
    const gone = (): void => {
      this.#isGone = true;
      for (const done of this.#waiting.splice(0)) done(NOTHING);
      onGone();
    };
    this.#session = new Http2Upstream(endpoint, gone, false, () => this.#serveWaiting());
  }

  take(): UpstreamExchange | undefined {
    return this.#session.open();
  }

  acquire(_http1: boolean, done: Acquired): void {
    if (this.#isGone) done(NOTHING);
    else this.#waiting.push(done);
  }

  #serveWaiting(): void {
    while (this.#waiting.length > 0) {
      const opened = this.#session.open();
      if (opened === undefined) return;
      // One that was given up meanwhile takes no place.
      this.#waiting.shift()?.(ok(opened));
    }
  }

  close(): void {
    this.#session.drain();
  }
}

function openedStream(endpoint: Socket): OpenedStream {
  return "rstCode" in endpoint ? (endpoint as Socket & OpenedStream) : externalStream(endpoint);
}
