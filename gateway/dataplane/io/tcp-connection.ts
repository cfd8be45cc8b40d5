import type { Socket } from "node:net";
import type { Problem } from "../../../federation/model/problem.ts";
import type { EntryForward } from "../routing/decide.ts";
import type { Entry } from "./entry.ts";
import { lossOf, refusalOf } from "./forward.ts";
import { ignore, relay } from "./relay.ts";
import { ErrorCode, type OpenedStream } from "./tunnel-stream.ts";

/** A workload's opaque connection: one tunnel stream for its life, bytes untouched, either side may speak first. */
export class TcpConnection {
  readonly socket: Socket;
  readonly #entry: Entry;
  readonly #onClosed: (connection: TcpConnection) => void;
  #target: EntryForward | undefined;
  #answered = false;

  constructor(socket: Socket, entry: Entry, onClosed: (connection: TcpConnection) => void) {
    this.socket = socket;
    this.#entry = entry;
    this.#onClosed = onClosed;
    socket.on("error", ignore);
    socket.once("close", () => this.#onClosed(this));
    this.#start();
  }

  /** Cuts what the rules in force no longer permit. */
  recheck(): void {
    const reason = this.#target === undefined ? undefined : this.#entry.recheck(this.#target);
    if (reason !== undefined) this.cut(reason);
  }

  /** TCP has no words for a reason: the connection is reset and the reason logged. */
  cut(reason: Problem): void {
    this.#entry.refused(reason);
    this.socket.resetAndDestroy();
  }

  #start(): void {
    const entry = this.#entry;
    const target = entry.decideConnection();
    if (target.kind === "refuse") return this.cut(target.problem);
    this.#target = target;
    if (target.permit.wouldDeny) entry.counters.wouldDeny.value += 1;
    const stream = entry.open(target, ignore);
    if (stream !== undefined) return this.#join(stream);
    const upstream = entry.upstream(target);
    if (upstream === undefined) return this.cut(entry.unavailable(target));
    upstream.whenReady((ready) => {
      if (this.socket.destroyed) return;
      const late = ready ? entry.open(target, ignore) : undefined;
      if (late === undefined) this.cut(entry.unavailable(target));
      else this.#join(late);
    });
  }

  #join(stream: OpenedStream): void {
    stream.once("response", (headers) => {
      if (headers[":status"] === 200) {
        this.#answered = true;
        return;
      }
      this.#answered = true;
      this.cut(refusalOf(headers));
      stream.close(ErrorCode.cancel);
    });
    stream.once("close", () => {
      if (!this.#answered && !this.socket.destroyed) this.cut(lossOf(stream.rstCode));
    });
    relay(this.socket, stream, this.#entry.counters);
  }
}
