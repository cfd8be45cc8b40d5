import type { Http1Exchange } from "../http1-exchange.ts";
import type { Http1Stream } from "../http1-stream.ts";
import type { UpstreamExchange } from "../judged/upstream-exchange.ts";

/** An HTTP/1.1 connection for the time of one request. */
export class Http1Way implements UpstreamExchange {
  readonly keepsChunks = true;
  readonly #stream: Http1Stream;

  constructor(stream: Http1Stream) {
    this.#stream = stream;
  }

  get reused(): boolean {
    return this.#stream.reused;
  }

  get needsDrain(): boolean {
    return this.#stream.writable.writableNeedDrain;
  }

  begin(exchange: Http1Exchange, head: string): void {
    this.#stream.begin(exchange, `${head}\r\n`);
  }

  write(bytes: Buffer, start: number, end: number): boolean {
    return this.#stream.write(bytes, start, end);
  }

  /** A request ends by its own framing; only an upgraded connection is ended. */
  end(): void {
    this.#stream.writable.end();
  }

  pauseResponse(): void {
    this.#stream.pauseResponse();
  }

  resumeResponse(): void {
    this.#stream.resumeResponse();
  }

  abort(): void {
    this.#stream.abort();
  }

  suspect(): void {
    this.#stream.abort();
  }
}
