import { Socket } from "node:net";
import { TrickleState } from "../lifecycle/trickle-state.ts";
import type { ByteSink } from "./tunnel-stream.ts";

const READ_BYTES = 128 * 1024;

/** What any endpoint sends is read here and handed on before the next read: a buffer per read would cost more than the read. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

// A pause is counted in microseconds, which no timer of Node's is: the turns of the event loop are looked through for its end. So
// many of them end it too, whatever the clock says.
const MAX_PAUSE_TURNS = 100;

type Written = (error?: Error | null) => void;

/**
 * A connection to a workload, read through one buffer that all of them share. Call `readTo` before it connects.
 *
 * A workload may answer and close before it has read all that it was asked. Its kernel resets the connection then, and what is
 * written from here fails; the answer is in our kernel all the same. So a write that fails is not the end: what is written goes
 * nowhere, and what is here is read, up to the end, which is the loss of the connection and no good order.
 *
 * What a workload says in many small pieces is read in pauses (`TrickleState`, decision 69).
 */
export class EndpointSocket extends Socket {
  #sink: ByteSink | undefined;
  #lost: Error | undefined;
  #written: Written | undefined;
  #hasEnded = false;
  readonly #now: () => number;
  readonly #trickle = new TrickleState();
  #pauseEndsMs = 0;
  #pauseTurns = 0;
  readonly #onPauseTurn = (): void => this.#lookForPauseEnd();
  readonly #onWritten: Written = (error) => {
    if (error === undefined || error === null || this.#hasEnded) return this.#written?.(error);
    this.#lost ??= error;
    this.#written?.();
  };

  /** `now`: milliseconds that pass evenly, with fractions. */
  constructor(now: () => number) {
    super({
      allowHalfOpen: true,
      onread: { buffer: shared, callback: (length, buffer) => this.#onRead(length, buffer) },
    });
    this.setNoDelay(true);
    this.#now = now;
  }

  readTo(sink: ByteSink): void {
    this.#sink = sink;
  }

  override _write(chunk: unknown, encoding: BufferEncoding, written: Written): void {
    this.#written = written;
    super._write(chunk, encoding, this.#onWritten);
  }

  override _writev(chunks: { chunk: unknown; encoding: BufferEncoding }[], written: Written): void {
    this.#written = written;
    super._writev?.(chunks, this.#onWritten);
  }

  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    if (chunk !== null) return super.push(chunk, encoding);
    this.#hasEnded = true;
    if (this.#lost === undefined) return super.push(null);
    this.destroy(this.#lost);
    return false;
  }

  #onRead(length: number, buffer: Uint8Array): boolean {
    this.#sink?.bytes(buffer as Buffer, 0, length);
    const now = this.#now();
    const pauseMs = this.#trickle.read(length, now);
    if (pauseMs === 0) return true;
    this.#pauseEndsMs = now + pauseMs;
    this.#pauseTurns = 0;
    setImmediate(this.#onPauseTurn);
    return false;
  }

  #lookForPauseEnd(): void {
    const now = this.#now();
    this.#pauseTurns += 1;
    if (now < this.#pauseEndsMs && this.#pauseTurns < MAX_PAUSE_TURNS)
      return void setImmediate(this.#onPauseTurn);
    this.#trickle.resumed(now);
    // Whoever paused it meanwhile, since it can take no more, resumes it.
    if (!this.destroyed && !this.isPaused()) this.resume();
  }
}
