import { Socket } from "node:net";
import { Connection, type ConnectionHost, type ConnectionOptions, type Notice } from "../http2/connection.ts";
import { type ConnectionFault, ErrorCode } from "../http2/error-code.ts";
import { type Filled, recycle } from "../http2/output.ts";
import type { Stream, StreamHandler } from "../http2/stream.ts";
import type { RelayEnd } from "./relay.ts";
import type { TunnelStream } from "./tunnel-stream.ts";
import { atTurnEnd, type TurnTask } from "./turn.ts";

/** Where the bytes of a session go: a TLS or TCP socket, or a stream of another session. */
export interface ByteTransport {
  /** One at a time; the bytes are the session's again when `written` was called. */
  write(bytes: Buffer, written: () => void): unknown;
  /** Ends our half, after what was written. */
  end(): unknown;
}

export interface SessionEvents {
  onReady(): void;
  onPong(): void;
  onGoaway(code: number, detail: string): void;
  /** The peer broke the protocol; the session ends. */
  onFault(fault: ConnectionFault): void;
  onNotice(event: Notice): void;
  /** A session that never serves has no say in this: it is not called for the asking side. */
  onRequest(stream: Stream, fields: readonly string[], ended: boolean, isTooLarge: boolean): StreamHandler;
}

/** An HTTP/2 connection over any transport, written to once per turn of the event loop. */
export class Http2Session implements ConnectionHost, TurnTask {
  readonly connection: Connection;
  readonly #transport: ByteTransport;
  readonly #events: SessionEvents;
  readonly #onWritten = (): void => this.#written();
  #inFlight: Filled | undefined;
  #isEnding = false;
  #isOver = false;

  constructor(options: ConnectionOptions, transport: ByteTransport, events: SessionEvents) {
    this.#transport = transport;
    this.#events = events;
    this.connection = new Connection(options, this);
  }

  /** Bytes from the transport, on loan for the time of the call. */
  receive(bytes: Buffer, start: number, end: number): void {
    this.connection.receive(bytes, start, end);
  }

  /** No new streams; the transport is ended after the last one. */
  drain(): void {
    this.connection.drain();
  }

  /** The transport is lost: every stream is closed, with INTERNAL_ERROR unless all of it is here. */
  lost(): void {
    this.#isOver = true;
    this.connection.lost();
  }

  /** Gives the peer up, and says why. */
  abort(code: number, detail: string): void {
    this.connection.destroy(code, detail);
    this.#isEnding = true;
  }

  /** Once per turn: what the turn made goes out, one write at a time. */
  flush(): void {
    this.connection.flush();
    if (this.#isOver || this.#inFlight !== undefined) return;
    const part = this.connection.output.take();
    if (part !== undefined) {
      this.#inFlight = part;
      this.#transport.write(part.slab.subarray(0, part.length), this.#onWritten);
    } else if (this.#isEnding || this.connection.isDone) {
      this.#isOver = true;
      this.#transport.end();
      this.connection.destroy(ErrorCode.noError);
    }
  }

  #written(): void {
    const part = this.#inFlight;
    this.#inFlight = undefined;
    if (part !== undefined) recycle(part.slab);
    // Streams that waited for room, and what was gathered meanwhile.
    this.flush();
  }

  // ---- host of the connection ---------------------------------------------------------------------------------------

  wake(): void {
    atTurnEnd(this);
  }

  get isWriting(): boolean {
    return this.#inFlight !== undefined;
  }

  request(stream: Stream, fields: readonly string[], ended: boolean, isTooLarge: boolean): StreamHandler {
    return this.#events.onRequest(stream, fields, ended, isTooLarge);
  }

  ready(): void {
    this.#events.onReady();
  }

  pong(): void {
    this.#events.onPong();
  }

  goaway(code: number, detail: string): void {
    this.#events.onGoaway(code, detail);
  }

  fault(fault: ConnectionFault): void {
    this.#isEnding = true;
    this.#events.onFault(fault);
  }

  noticed(event: Notice): void {
    this.#events.onNotice(event);
  }
}

/** A socket that is ended by its session: gracefully, unless its peer takes no notice. */
export function socketTransport(socket: Socket): ByteTransport {
  return {
    write: "encrypted" in socket ? (bytes, written) => socket.write(bytes, written) : writeTo(socket),
    end: () => {
      socket.end();
      setTimeout(() => socket.destroy(), LINGER_MS).unref();
    },
  };
}

/** What the kernel takes at once, which is nearly everything, needs no callback, and Node no tick to call it in. */
function writeTo(socket: Socket): ByteTransport["write"] {
  return (bytes, written) => {
    socket.write(bytes);
    if (socket.writableLength === 0) written();
    else socket.write(NOTHING, written);
  };
}

const NOTHING = Buffer.alloc(0);

// For GOAWAY and the last frames to reach the peer, and for its own end to come back.
const LINGER_MS = 1_000;

/** For the workload's own end to come back. */
const STREAM_LINGER_MS = 2_000;

/** A stream of a session as the transport of another: its window is the inner session's backpressure. */
function streamTransport(stream: TunnelStream): ByteTransport {
  let waiting: (() => void) | undefined;
  stream.on("drain", () => {
    const written = waiting;
    waiting = undefined;
    written?.();
  });
  return {
    write(bytes, written) {
      if (stream.write(bytes)) written();
      else waiting = written;
    },
    end: () => {
      stream.end();
      setTimeout(() => stream.close(ErrorCode.cancel), STREAM_LINGER_MS).unref();
    },
  };
}

export function transportOf(end: RelayEnd): ByteTransport {
  return end instanceof Socket ? socketTransport(end) : streamTransport(end);
}
