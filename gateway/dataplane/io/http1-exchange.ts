import type { Problem } from "../../../federation/model/problem.ts";
import type { ResponseHead } from "../http1/response-head.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { BodyTarget } from "./http1-body.ts";
import type { Http1Stream } from "./http1-stream.ts";

/** One request and its response, as the stream that carries them sees it. */
export interface Http1Exchange {
  readonly request: Pick<RequestHead, "method" | "upgrade" | "minor">;
  /** What an HTTP/2 client says it is. */
  readonly scheme?: string | undefined;
  /** The whole request was handed to the stream. */
  readonly requestDone: boolean;
  /** Where the response's body goes. */
  readonly body: BodyTarget;
  /** Milliseconds, moved on once a second. */
  readonly coarseNow: number;
  /** A head that needs no change may pass as it came. */
  readonly passesUnchanged: boolean;
  /** Bytes of the response arrived. */
  received(bytes: number): void;
  /** The response will not do: another try follows, and this one is not looked at any further. */
  declines(head: ResponseHead): boolean;
  /** Head and body as they came. */
  writeResponse(status: number, buffer: Buffer, at: number, end: number): void;
  /** The head, in one write with the body where that is at hand (`buffer` from `bodyAt` to `end`). */
  writeResponseHead(head: ResponseHead, buffer?: Buffer, bodyAt?: number, end?: number): void;
  writeInterim(head: string): void;
  /** Of an answer over HTTP/2, before `responseDone`; a chunked body has them in it. */
  trailers?(fields: readonly string[]): void;
  /** Bytes of an upgraded connection. */
  write(bytes: Buffer, start: number, end: number): void;
  /** Stops the response while the reader does not read. */
  awaitDrain(): void;
  /** The stream takes more of the request. */
  resumeRequest(): void;
  upgraded(): void;
  finishUpgraded(): void;
  responseDone(): void;
  /** `rstCode`: by which the far server reset its HTTP/2 stream. */
  upstreamFailed(stream: Http1Stream, reason: Problem, rstCode?: number): void;
}
