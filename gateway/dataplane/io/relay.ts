import type { Socket } from "node:net";
import type { Counter } from "./counters.ts";
import { ErrorCode, type TunnelStream } from "./tunnel-stream.ts";

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

/** From this size on a chunk is likely one of many that arrive together. */
export const BULK_BYTES = 4_096;

/**
 * Gathers what is written to `to` in this turn of the event loop into one system call or session write. A TLS record and an
 * HTTP/2 frame differ by nine bytes, so bulk data comes in pairs of a long and a short chunk, several pairs at a time.
 */
export function corkForTurn(to: RelayEnd): void {
  if (to.writableCorked > 0) return;
  to.cork();
  // Not nextTick, which runs between the chunks of one read.
  setImmediate(uncork, to);
}

function uncork(to: RelayEnd): void {
  to.uncork();
}

function pump(from: RelayEnd, to: RelayEnd, counter: Counter): void {
  from.on("data", (chunk: Buffer) => {
    counter.value += chunk.length;
    if (chunk.length >= BULK_BYTES) corkForTurn(to);
    if (!to.write(chunk)) from.pause();
  });
  to.on("drain", () => from.resume());
  const onEnd = (): void => void (isCut(from) ? abort(to) : to.end());
  // A client that ends its half at once may have done so before the far side was there to be told.
  if (from.readableEnded) onEnd();
  else from.once("end", onEnd);
  from.on("error", ignore);
}

/** `end` comes for a stream that was cut with CANCEL, and when its session's socket is gone. */
export function isCut(end: RelayEnd): boolean {
  return "rstCode" in end && end.rstCode !== undefined && end.rstCode !== ErrorCode.noError;
}

function follow(closed: RelayEnd, other: RelayEnd): void {
  const complete = closed.readableEnded && closed.writableFinished && !isCut(closed);
  if (!complete && !other.destroyed) abort(other);
}

// One for all: what it says is nobody's to read, and a stack trace costs more than the abort.
const ABORTED = new Error("aborted");

/**
 * Ends a relay end so that its peer sees a failure. Http2Stream.close would not do: it sends END_STREAM ahead of its
 * RST_STREAM, so that what was cut looks complete.
 */
export function abort(end: RelayEnd): void {
  if ("resetAndDestroy" in end) end.resetAndDestroy();
  else end.destroy(ABORTED);
}

/** A stream's failure is handled at its `close`; without a listener `error` would end the process. */
export function ignore(): void {}
