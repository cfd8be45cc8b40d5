import type { Socket } from "node:net";
import { problem } from "../../../federation/model/problem.ts";
import { err } from "../../../federation/model/result.ts";
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

const acquireNothing = (_http1: boolean, done: Acquired): void =>
  done(err(problem("upstream_reset", "the endpoint is gone, or busy with another request")));

export class Http1Endpoint implements EndpointWay {
  readonly acquire = acquireNothing;
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

  close(): void {
    if (this.#isIdle) this.#stream.drain();
    else this.#stream.abort();
  }
}

export class Http2Endpoint implements EndpointWay {
  readonly acquire = acquireNothing;
  readonly #session: Http2Upstream;

  constructor(endpoint: Socket, onGone: () => void) {
    this.#session = new Http2Upstream(endpoint, onGone, false);
  }

  take(): UpstreamExchange | undefined {
    return this.#session.open();
  }

  close(): void {
    this.#session.drain();
  }
}

function openedStream(endpoint: Socket): OpenedStream {
  return "rstCode" in endpoint ? (endpoint as Socket & OpenedStream) : externalStream(endpoint);
}
