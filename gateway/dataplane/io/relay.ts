import type { Socket } from "node:net";
import type { Counter } from "./counters.ts";
import { SocketWriter } from "./socket-writer.ts";
import { TunnelChannel } from "./tunnel-channel.ts";
import { type ByteSink, ErrorCode, type TunnelStream } from "./tunnel-stream.ts";

/** One end of a relay: a tunnel stream or a workload's TCP connection. */
export type RelayEnd = TunnelStream | Socket;

/** Bytes from the side that asked (`up`) and towards it (`down`). */
export interface RelayCounters {
  readonly up: Counter;
  readonly down: Counter;
}

/**
 * Joins two ends both ways: half-close is passed on, a slow reader slows only its own relay, and an end that breaks breaks
 * the other, so that truncation never looks like completion.
 */
export function relay(asking: RelayEnd, answering: RelayEnd, counters: RelayCounters): void {
  startRelay(asking, answering, counters);
  finishRelay(asking, answering, counters);
}

/** The first half of a relay: towards the answering side. The other way waits for `finishRelay`. */
export function startRelay(asking: RelayEnd, answering: RelayEnd, counters: RelayCounters): void {
  answering.on("error", ignore);
  pump(asking, answering, counters.up);
  asking.once("close", () => follow(asking, answering));
  answering.once("close", () => follow(answering, asking));
}

/** The second half: the answering side has accepted, so its bytes may pass. */
export function finishRelay(asking: RelayEnd, answering: RelayEnd, counters: RelayCounters): void {
  pump(answering, asking, counters.down);
}

/** Bytes of one end on their way to the other. */
class Pump implements ByteSink {
  readonly #from: RelayEnd;
  readonly #counter: Counter;
  readonly #channel: TunnelChannel | undefined;
  readonly #writer: SocketWriter | undefined;

  constructor(from: RelayEnd, to: RelayEnd, counter: Counter) {
    this.#from = from;
    this.#counter = counter;
    if (to instanceof TunnelChannel) this.#channel = to;
    else this.#writer = new SocketWriter(to);
  }

  bytes(buffer: Buffer, start: number, end: number): void {
    this.#counter.value += end - start;
    const wantsMore =
      this.#channel === undefined
        ? this.#writer?.write(buffer, start, end)
        : this.#channel.stream.write(buffer, start, end);
    if (wantsMore === false) this.#from.pause();
  }

  flush(): void {
    this.#writer?.flush();
  }
}

function pump(from: RelayEnd, to: RelayEnd, counter: Counter): void {
  const sink = new Pump(from, to, counter);
  readFrom(from, sink);
  to.on("drain", () => from.resume());
  const onEnd = (): void => {
    sink.flush();
    if (isCut(from)) abort(to);
    else to.end();
  };
  // A client that ends its half at once may have done so before the far side was there to be told.
  if (from.readableEnded) onEnd();
  else from.once("end", onEnd);
  from.on("error", ignore);
}

/** Hands on what `from` has, on loan where it can be. */
export function readFrom(from: RelayEnd, sink: ByteSink): void {
  if ("readTo" in from && from.readTo !== undefined) from.readTo(sink);
  else from.on("data", (chunk: Buffer) => sink.bytes(chunk, 0, chunk.length));
}

/** Whether an end broke off, though it may have said `end`. */
export function isCut(end: RelayEnd): boolean {
  return "rstCode" in end && end.rstCode !== undefined && end.rstCode !== ErrorCode.noError;
}

function follow(closed: RelayEnd, other: RelayEnd): void {
  const complete = closed.readableEnded && closed.writableFinished && !isCut(closed);
  if (!complete && !other.destroyed) abort(other);
}

/** Ends a relay end so that its peer sees a failure. */
export function abort(end: RelayEnd): void {
  // A TLS socket has `resetAndDestroy`, and throws in it.
  if (!("resetAndDestroy" in end)) end.close(ErrorCode.cancel);
  else if ("encrypted" in end) end.destroy();
  else end.resetAndDestroy();
}

/** A stream's failure is handled at its `close`; without a listener `error` would end the process. */
export function ignore(): void {}
