import type { Problem } from "../../../federation/model/problem.ts";
import type { Notice } from "../http2/connection.ts";
import type { Stream, StreamHandler } from "../http2/stream.ts";
import { SessionConduct } from "../lifecycle/session-conduct.ts";
import { lossOf, refusalOf } from "./forward.ts";
import { Http2Session, transportOf } from "./http2-session.ts";
import { abort, ignore, readFrom } from "./relay.ts";
import { type ByteSink, ErrorCode, type OpenedStream } from "./tunnel-stream.ts";
import { TUNNEL_HEADER, WORKLOAD_CONNECTION } from "./tunnel-settings.ts";

export interface UpstreamOwner {
  /** It takes no request any more. */
  onGone(upstream: Http2Upstream): void;
  /** The service takes so many requests at a time on a connection. */
  onLimit(streams: number): void;
  /** It is connected, and `endpoint` says where, if the far gateway does. */
  onEndpoint(upstream: Http2Upstream): void;
}

/**
 * An HTTP/2 session with one connection of the far workload, inside a tunnel stream: the hops between relay its bytes. It carries
 * requests of any connection of the same caller to the same target.
 */
export class Http2Upstream implements ByteSink {
  readonly openedMs: number;
  /** Name of the endpoint that it leads to, once the far gateway has said it. */
  endpoint: string | undefined;
  /** Since when no request is under way. */
  idleSinceMs: number;
  readonly #session: Http2Session;
  readonly #stream: OpenedStream;
  readonly #owner: UpstreamOwner;
  readonly #conduct = new SessionConduct("workload");
  #refusal: Problem | undefined;
  /** The service has not said yet how many requests at a time it takes; this many are likely to be. */
  #likelyStreams: number | undefined;
  #isRetired = false;
  #isGone = false;
  /** Its way is gone, and with it what was under way. */
  isLost = false;

  constructor(stream: OpenedStream, now: number, likelyStreams: number, owner: UpstreamOwner) {
    this.#likelyStreams = likelyStreams;
    this.openedMs = now;
    this.idleSinceMs = now;
    this.#stream = stream;
    this.#owner = owner;
    this.#session = new Http2Session(
      { ...WORKLOAD_CONNECTION, role: "client", asksAtOnce: true },
      transportOf(stream),
      {
        onReady: () => {
          this.#likelyStreams = undefined;
          owner.onLimit(this.#session.connection.peerStreams);
        },
        onPong: ignore,
        onGoaway: () => this.retire(),
        onFault: ({ detail }) => this.#lose({ name: "upstream_malformed", detail }),
        onNotice: (event) => this.#onNotice(event),
        onRequest: (asked) => asked.handler,
      },
    );
    stream.once("response", (headers) => {
      const endpoint = headers[TUNNEL_HEADER.endpoint];
      this.endpoint = typeof endpoint === "string" ? endpoint : undefined;
      if (headers[":status"] === 200) return owner.onEndpoint(this);
      this.#lose(refusalOf(headers));
      stream.close(ErrorCode.cancel);
    });
    stream.on("error", ignore);
    stream.once("end", () => {
      this.#lost();
      stream.end();
    });
    stream.once("close", () => this.#lost());
    readFrom(stream, this);
  }

  get streams(): number {
    return this.#session.connection.streams;
  }

  get usable(): boolean {
    if (this.#isRetired || !this.#session.connection.takesStreams) return false;
    return this.#likelyStreams === undefined || this.streams < this.#likelyStreams;
  }

  /** Why streams that were not answered are lost. */
  get loss(): Problem {
    return this.#refusal ?? lossOf(this.#stream.rstCode);
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    this.#session.receive(buffer, start, end);
  }

  request(fields: readonly string[], ended: boolean, handler: StreamHandler): Stream | undefined {
    const stream = this.#session.connection.request(fields, ended, handler);
    // nginx does it after each answer that it gave without reading the request's body (RFC 9113 §8.1).
    if (stream !== undefined) this.#conduct.allowReset();
    return stream;
  }

  /** No request after those under way. */
  retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#session.drain();
    this.#gone();
  }

  tick(now: number): void {
    const reason = this.#conduct.tick();
    if (reason !== undefined) this.#lose({ name: "upstream_timeout", detail: reason.detail });
    if (this.streams > 0) this.idleSinceMs = now;
  }

  #onNotice(event: Notice): void {
    const reason = this.#conduct.notice(event);
    if (reason !== undefined) this.#lose({ name: "upstream_malformed", detail: reason.detail });
  }

  #lose(reason: Problem): void {
    this.#refusal ??= reason;
    this.#lost();
    if (!this.#stream.destroyed) abort(this.#stream);
  }

  #lost(): void {
    this.isLost = true;
    this.#isRetired = true;
    this.#gone();
    this.#session.lost();
  }

  #gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#owner.onGone(this);
  }
}
