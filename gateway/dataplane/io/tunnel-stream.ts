/**
 * What the engine needs of one stream of a tunnel. Whoever moves bytes (relay, forward, HTTP/1.1) knows this and not the
 * HTTP/2 below it. Names and meaning are those of Node's streams.
 */
export interface TunnelStream {
  /** Over: nothing more is sent or delivered. */
  readonly destroyed: boolean;
  /** Reset here or by the peer, or complete both ways. */
  readonly closed: boolean;
  /** Code of the RST_STREAM that ended it, once it is closed (RFC 9113 §7); NO_ERROR for one that is complete. */
  readonly rstCode: number | undefined;
  readonly readableEnded: boolean;
  readonly writableFinished: boolean;
  /** Bytes that wait for the peer's window or the session's turn. */
  readonly writableLength: number;
  readonly writableNeedDrain: boolean;

  /** `false`: write no more before `drain`. */
  write(bytes: Buffer): boolean;
  write(text: string, encoding: "latin1" | "utf8"): boolean;
  /** Our half is complete: END_STREAM. */
  end(): unknown;
  pause(): unknown;
  resume(): unknown;
  /** RST_STREAM with an ErrorCode. What was cut must not look complete: see `abort` in relay.ts. */
  close(code?: number): void;
  /** Instead of `data` events: bytes on loan for the time of the call. */
  readTo?(sink: ByteSink): void;

  on(event: "data", listener: (chunk: Buffer) => void): unknown;
  on(event: "end" | "drain" | "close", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  once(event: "end" | "close", listener: () => void): unknown;
}

/** Takes bytes that are its caller's again when `bytes` returns. */
export interface ByteSink {
  bytes(buffer: Buffer, start: number, end: number): void;
}

/** A stream that we opened. */
export interface OpenedStream extends TunnelStream {
  once(event: "response", listener: (headers: ReceivedFields) => void): unknown;
  once(event: "end" | "close", listener: () => void): unknown;
}

/** A stream that a peer opened. */
export interface ServedStream extends TunnelStream {
  readonly headersSent: boolean;
  respond(fields: ResponseFields, options?: { readonly endStream: boolean }): void;
  /** Tells the peer that the way beyond us is draining: this stream must not be used for another request (decision 7). */
  hintDrain(): void;
}

/** Fields of a request to send; pseudo-header fields come first. */
export interface RequestFields {
  readonly [name: string]: string;
}

/** Fields of a response to send. */
export interface ResponseFields {
  readonly ":status": number;
  readonly [name: string]: string | number;
}

/** Fields of a request or response that came from a peer. */
export interface ReceivedFields {
  readonly ":method"?: string | undefined;
  readonly ":authority"?: string | undefined;
  readonly ":status"?: number | undefined;
  readonly [name: string]: string | readonly string[] | number | undefined;
}

export { ErrorCode } from "../http2/error-code.ts";
