import { EventEmitter } from "node:events";

/** A client's connection without a network: what is written to it and done with it is kept. */
export class FakeSocket extends EventEmitter {
  /** TCP_NODELAY was asked for. */
  sendsAtOnce = false;
  destroyed = false;
  writableNeedDrain = false;
  writableLength = 0;
  isPaused = false;
  written = "";
  /** What was done with the connection itself. */
  readonly acts: string[] = [];

  write(bytes: Buffer | string): boolean {
    this.written += bytes.toString("latin1");
    return !this.writableNeedDrain;
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  end(): void {
    this.acts.push("end");
  }
  destroy(): void {
    this.acts.push("destroy");
    this.destroyed = true;
  }
  setNoDelay(): void {
    this.sendsAtOnce = true;
  }

  resetAndDestroy(): void {
    this.acts.push("reset");
    this.destroyed = true;
  }
}
