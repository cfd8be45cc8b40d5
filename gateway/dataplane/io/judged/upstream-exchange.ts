import type { Problem } from "../../../../federation/model/problem.ts";
import type { Result } from "../../../../federation/model/result.ts";
import type { Http1Exchange } from "../http1-exchange.ts";

/** The way of one request to a far server: an HTTP/1.1 connection for its time, or a stream of an HTTP/2 connection. */
export interface UpstreamExchange {
  /** The connection has been there for others: its loss may be the far side's idle timeout, not a failure. */
  readonly reused: boolean;
  /** Whether a chunked request goes on in chunks, or as its bare content. */
  readonly keepsChunks: boolean;
  /** No more of the request before `resumeRequest`. */
  readonly needsDrain: boolean;
  begin(exchange: Http1Exchange, head: string): void;
  /** Part of the request's body. */
  write(bytes: Buffer, start: number, end: number): boolean;
  /** The request is complete, or an upgraded connection's client is done. `trailers`: of a body that went on without its chunks. */
  end(trailers: string): void;
  pauseResponse(): void;
  resumeResponse(): void;
  /** The exchange is given up. */
  abort(): void;
  /** It did not answer in time. */
  suspect(): void;
}

export type Acquired = (result: Result<UpstreamExchange, Problem>) => void;

/** Where exchanges with one far server come from. `http1`: only a connection of one's own will do, as for an upgrade. */
export interface ExchangePool {
  /** One that can begin at once. */
  take(http1: boolean): UpstreamExchange | undefined;
  acquire(http1: boolean, done: Acquired): void;
}
