import { constants, type Http2Stream } from "node:http2";
import type { Socket } from "node:net";
import type { Counter } from "./counters.ts";

/** One end of a relay: a tunnel stream or a workload's TCP connection. */
export type RelayEnd = Http2Stream | Socket;

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

function pump(from: RelayEnd, to: RelayEnd, counter: Counter): void {
  from.on("data", (chunk: Buffer) => {
    counter.value += chunk.length;
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  from.once("end", () => to.end());
  from.on("error", ignore);
}

function follow(closed: RelayEnd, other: RelayEnd): void {
  const complete = closed.readableEnded && closed.writableFinished;
  if (!complete && !other.destroyed) abort(other);
}

/** Ends a relay end so that its peer sees a failure. */
export function abort(end: RelayEnd): void {
  if ("resetAndDestroy" in end) end.resetAndDestroy();
  else end.close(constants.NGHTTP2_CANCEL);
}

/** A stream's failure is handled at its `close`; without a listener `error` would end the process. */
export function ignore(): void {}
