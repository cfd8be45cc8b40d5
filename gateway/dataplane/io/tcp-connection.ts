import type { Socket } from "node:net";
import type { Problem } from "../../../federation/model/problem.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { Bagged } from "./bag.ts";
import type { Entry } from "./entry.ts";
import { lossOf, refusalOf } from "./forward.ts";
import { abort, ignore, isCut, relay } from "./relay.ts";
import { ConnectionRecord } from "./connection-record.ts";
import { traceFields } from "./trace-fields.ts";
import { ErrorCode, type OpenedStream } from "./tunnel-stream.ts";

export interface TcpOptions {
  readonly onClosed: (connection: TcpConnection) => void;
  /**
   * Given: the client has said nothing yet, and its bytes are not touched until `release`. Told once, when the server speaks
   * (or ends) first, which releases the connection by itself.
   */
  readonly onServerFirst?: () => void;
}

/** A workload's opaque connection: one tunnel stream for its life, bytes untouched, either side may speak first. */
export class TcpConnection implements Bagged {
  bagSlot = -1;
  readonly socket: Socket;
  readonly #entry: Entry;
  readonly #options: TcpOptions;
  readonly #record: ConnectionRecord;
  #target: EntryForward | undefined;
  #stream: OpenedStream | undefined;
  #answered = false;
  #state: "held" | "relaying" | "abandoned";

  constructor(socket: Socket, entry: Entry, options: TcpOptions) {
    this.socket = socket;
    this.#entry = entry;
    this.#options = options;
    this.#record = new ConnectionRecord(entry);
    this.#state = options.onServerFirst === undefined ? "relaying" : "held";
    socket.on("error", ignore);
    socket.once("close", () => this.#onClose());
    this.#start();
  }

  /** Cuts what the rules in force no longer permit. */
  recheck(): void {
    const reason = this.#target === undefined ? undefined : this.#entry.recheck(this.#target);
    if (reason !== undefined) this.cut(reason);
  }

  /** TCP has no words for a reason: the connection is reset and the reason logged. */
  cut(reason: Problem): void {
    this.#record.refused(reason);
    this.#entry.refused(reason);
    this.socket.resetAndDestroy();
  }

  /** It is TCP after all: bytes flow both ways. */
  release(): void {
    if (this.#state !== "held") return;
    this.#state = "relaying";
    if (this.#stream !== undefined) relay(this.socket, this.#stream, this.#record);
  }

  /** It is not TCP: gives the stream up and leaves the socket to somebody else. */
  abandon(): void {
    this.#state = "abandoned";
    if (this.#stream !== undefined) abort(this.#stream);
  }

  #start(): void {
    const entry = this.#entry;
    const target = entry.decideConnection();
    if (target.kind === "refuse") return this.cut(target.problem);
    this.#target = target;
    this.#record.toward(target);
    const extra = { extra: traceFields(this.#record.trace) };
    if (target.permit.wouldDeny) entry.counters.wouldDeny.value += 1;
    const stream = entry.open(target, ignore, extra);
    if (stream !== undefined) return this.#join(stream);
    const hasLeft = (): boolean => this.socket.destroyed || this.#state === "abandoned";
    entry.whenAvailable(target, {
      tryAgain: (ready) => {
        if (hasLeft()) return false;
        const late = ready ? entry.open(target, ignore, extra) : undefined;
        if (late === undefined && ready && entry.isFull(target)) return true;
        if (late === undefined) this.cut(entry.unavailable(target));
        else this.#join(late);
        return false;
      },
      get client() {
        return hasLeft() ? "gone" : "here";
      },
    });
  }

  #join(stream: OpenedStream): void {
    this.#stream = stream;
    stream.once("response", (headers) => {
      this.#answered = true;
      if (headers[":status"] === 200 || this.#state === "abandoned") return;
      this.cut(refusalOf(headers));
      stream.close(ErrorCode.cancel);
    });
    stream.once("close", () => {
      if (!this.#answered && this.#state !== "abandoned" && !this.socket.destroyed)
        this.cut(lossOf(stream.rstCode));
    });
    if (this.#state === "relaying") relay(this.socket, stream, this.#record);
    else this.#awaitServer(stream);
  }

  #awaitServer(stream: OpenedStream): void {
    stream.on("error", ignore);
    stream.on("data", (chunk) => {
      if (this.#state !== "held") return;
      this.#record.down.value += chunk.length;
      this.socket.write(chunk);
      this.#serverFirst();
    });
    stream.once("end", () => {
      if (this.#state !== "held") return;
      if (isCut(stream)) return void this.socket.resetAndDestroy();
      this.socket.end();
      this.#serverFirst();
    });
    stream.once("close", () => {
      if (this.#state === "held") this.socket.destroy();
    });
  }

  #serverFirst(): void {
    this.#options.onServerFirst?.();
    this.release();
  }

  #onClose(): void {
    if (this.#state === "abandoned") return;
    if (this.#state === "held" && this.#stream !== undefined) abort(this.#stream);
    this.#record.end(this.socket.readableEnded && this.socket.writableFinished);
    this.#options.onClosed(this);
  }
}
