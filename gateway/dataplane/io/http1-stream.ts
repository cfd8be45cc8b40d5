import { type Problem, problem } from "../../../federation/model/problem.ts";
import { DEFAULT_HEAD_LIMITS } from "../http1/outcome.ts";
import { parseResponseHead, type ResponseHead } from "../http1/response-head.ts";
import { InterimAllowance } from "../policy/interim-allowance.ts";
import type { Bagged } from "./bag.ts";
import { lossOf, refusalOf } from "./forward.ts";
import { BodyForwarder, MALFORMED } from "./http1-body.ts";
import type { Http1Exchange } from "./http1-exchange.ts";
import { abort, ignore, isCut, readFrom } from "./relay.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import { type ByteSink, ErrorCode, type OpenedStream, type TunnelStream } from "./tunnel-stream.ts";

const SWITCHING_PROTOCOLS = 101;
const LINGER_MS = 2_000;

/** Where a stream rests between requests. */
export interface StreamHome {
  put(stream: Http1Stream): void;
  remove(stream: Http1Stream): void;
}

/**
 * A tunnel stream, or a connection to an external host, that speaks HTTP/1.1 with one far server. It serves one request
 * after another, of any connection of the same caller to the same destination; between requests it rests in the pool.
 */
export class Http1Stream implements ByteSink, Bagged {
  bagSlot = -1;
  /** Has answered a request before: its loss may be the far side's idle timeout, not a failure. */
  reused = false;
  /** Name of the endpoint that it leads to, once the far gateway has said it. */
  endpoint: string | undefined;
  /** Of its destination, when it was opened. */
  generation = 0;
  idleSinceMs = 0;
  readonly #stream: OpenedStream;
  readonly #pool: StreamHome;
  readonly #mayServeAgain: boolean;
  readonly #body = new BodyForwarder();
  #exchange: Http1Exchange | undefined;
  #carry: Buffer | undefined;
  #phase: "head" | "body" | "upgraded" = "head";
  #keepAlive = false;
  #interim: InterimAllowance | undefined;
  /** Bytes of an unfinished head that were looked at already. */
  #scanned = 0;
  #draining = false;
  #refusal: Problem | undefined;

  constructor(stream: OpenedStream, pool: StreamHome, mayServeAgain: boolean) {
    this.#stream = stream;
    this.#pool = pool;
    this.#mayServeAgain = mayServeAgain;
    readFrom(stream, this);
    stream.on("drain", () => this.#exchange?.resumeRequest());
    stream.once("response", (headers) => {
      const endpoint = headers[TUNNEL_HEADER.endpoint];
      this.endpoint = typeof endpoint === "string" ? endpoint : undefined;
      if (headers[":status"] === 200) return;
      this.#refusal = refusalOf(headers);
      stream.close(ErrorCode.cancel);
    });
    stream.once("end", () => this.#onEnd());
    stream.on("error", ignore);
    stream.once("close", () => this.#onClose());
  }

  get usable(): boolean {
    return !this.#draining && !this.#stream.destroyed && !this.#stream.closed;
  }

  /** Begins an exchange, which hears of everything that follows. */
  begin(exchange: Http1Exchange, head: string): void {
    this.#exchange = exchange;
    this.#phase = "head";
    this.#interim = undefined;
    this.#scanned = 0;
    this.#stream.write(head, "latin1");
  }

  /** Part of the request's body. */
  write(bytes: Buffer, start: number, end: number): boolean {
    return this.#stream.write(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end));
  }

  get writable(): TunnelStream {
    return this.#stream;
  }

  pauseResponse(): void {
    this.#stream.pause();
  }

  resumeResponse(): void {
    this.#stream.resume();
  }

  /** This stream's way is draining: no request after the one under way. */
  drain(): void {
    this.#draining = true;
    if (this.#exchange === undefined) this.#retire();
  }

  /** The exchange is given up: the far side must not take what it got for complete. */
  abort(): void {
    this.#exchange = undefined;
    this.#pool.remove(this);
    abort(this.#stream);
  }

  bytes(chunk: Buffer, start: number, end: number): void {
    const exchange = this.#exchange;
    // Bytes that nobody asked for: whatever they are, they must not become the answer to the next request.
    if (exchange === undefined) return this.abort();
    exchange.received(end - start);
    if (this.#phase === "upgraded") return exchange.write(chunk, start, end);
    if (this.#phase === "body") return this.#onBodyBytes(exchange, chunk, start, end);
    if (this.#carry === undefined) return this.#onHeadBytes(exchange, chunk, start, end);
    const buffer = Buffer.concat([this.#carry, chunk.subarray(start, end)]);
    this.#carry = undefined;
    this.#onHeadBytes(exchange, buffer, 0, buffer.length);
  }

  #onHeadBytes(exchange: Http1Exchange, buffer: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const scanned = at + this.#scanned;
      const { request } = exchange;
      const outcome = parseResponseHead(buffer, at, end, request, DEFAULT_HEAD_LIMITS, scanned);
      if (outcome.kind === "need-more") {
        // A copy: the buffer is on loan.
        this.#carry = Buffer.from(buffer.subarray(at, end));
        this.#scanned = end - at;
        return;
      }
      this.#scanned = 0;
      if (outcome.kind === "invalid") return this.#fail(problem("upstream_malformed", outcome.detail));
      const { head } = outcome;
      if (head.status >= 200) return this.#onFinalHead(exchange, head, buffer, at, end);
      if (!this.#onInterim(exchange, head)) return;
      at += head.byteLength;
      if (this.#phase === "upgraded") return exchange.write(buffer, at, end);
    }
  }

  /** Whether the exchange goes on. */
  #onInterim(exchange: Http1Exchange, head: ResponseHead): boolean {
    const refusal = this.#interimRefusal(exchange, head.status);
    if (refusal !== undefined) {
      this.#fail(refusal);
      return false;
    }
    exchange.writeInterim(`${head.forwardable}\r\n`);
    if (head.status === SWITCHING_PROTOCOLS) {
      this.#phase = "upgraded";
      exchange.upgraded();
    } else exchange.awaitDrain();
    return true;
  }

  #interimRefusal(exchange: Http1Exchange, status: number): Problem | undefined {
    if (status === SWITCHING_PROTOCOLS && exchange.request.upgrade === undefined)
      return problem("upstream_malformed", `unexpected response ${status}`);
    const now = exchange.coarseNow;
    this.#interim ??= new InterimAllowance(now);
    return this.#interim.take(now);
  }

  #onFinalHead(exchange: Http1Exchange, head: ResponseHead, buffer: Buffer, at: number, end: number): void {
    const bodyAt = at + head.byteLength;
    this.#keepAlive = head.keepAlive;
    const { body } = head;
    const whole = body.kind === "none" ? 0 : body.kind === "length" ? body.length : -1;
    if (exchange.declines(head)) return this.#decline(exchange, whole === end - bodyAt);
    if (whole === end - bodyAt) {
      // The usual small answer arrives in one piece and leaves in one write; as it is, where nothing has to change.
      if (head.forwardable === head.received && exchange.passesUnchanged)
        exchange.writeResponse(head.status, buffer, at, end);
      else exchange.writeResponseHead(head, buffer, bodyAt, end);
      return this.#complete(exchange);
    }
    exchange.writeResponseHead(head);
    this.#phase = "body";
    this.#body.reset(body, exchange.request.minor === 1);
    this.#onBodyBytes(exchange, buffer, bodyAt, end);
  }

  #onBodyBytes(exchange: Http1Exchange, buffer: Buffer, at: number, end: number): void {
    const next = this.#body.forward(buffer, at, end, exchange.body);
    if (next === MALFORMED)
      return this.#fail(problem("upstream_malformed", "the body's chunks are malformed"));
    if (!this.#body.done) return exchange.awaitDrain();
    if (next < end) this.#keepAlive = false;
    this.#complete(exchange);
  }

  #complete(exchange: Http1Exchange): void {
    this.#release(exchange);
    exchange.responseDone();
  }

  /** A response that is not wanted: where it is here as a whole, the stream may serve on. */
  #decline(exchange: Http1Exchange, isWhole: boolean): void {
    if (isWhole) this.#release(exchange);
    else this.abort();
  }

  #release(exchange: Http1Exchange): void {
    this.#exchange = undefined;
    this.reused = true;
    // A request that still lies here unread would stand before the next one.
    const isRead = this.#stream.writableLength === 0;
    const mayServeAgain = this.#mayServeAgain && this.#keepAlive && exchange.requestDone;
    if (mayServeAgain && isRead && this.usable) this.#pool.put(this);
    else this.#retire();
  }

  #retire(): void {
    this.#pool.remove(this);
    if (this.#stream.destroyed || this.#stream.closed) return;
    // Politely: the workload sees a FIN and closes its side. One that does not is cut a little later.
    this.#stream.end();
    setTimeout(() => this.#stream.close(ErrorCode.cancel), LINGER_MS).unref();
  }

  #onEnd(): void {
    if (isCut(this.#stream)) return; // `close` follows and says why
    const exchange = this.#exchange;
    if (exchange === undefined) return this.#retire();
    if (this.#phase === "upgraded") return exchange.finishUpgraded();
    if (this.#phase === "body" && this.#body.endsWithConnection) {
      this.#keepAlive = false;
      return this.#complete(exchange);
    }
    this.#fail(
      this.#refusal ?? problem("upstream_reset", "the service ended before its response was complete"),
    );
  }

  #onClose(): void {
    this.#pool.remove(this);
    const exchange = this.#exchange;
    if (exchange !== undefined) this.#fail(this.#refusal ?? lossOf(this.#stream.rstCode));
  }

  #fail(reason: Problem): void {
    const exchange = this.#exchange;
    this.abort();
    exchange?.upstreamFailed(this, reason);
  }
}
