import { closeSync, openSync, readFileSync, writeSync } from "node:fs";

/** Enough for any safe integer; a fixed width makes each note one write in place. */
const WIDTH = 16;

/**
 * The highest revision this registry ever acknowledged, in a file beside the store: a store that was put back from an
 * older copy would otherwise be served silently, and members would refuse its snapshots one by one. It is written after
 * the store and never flushed on its own, so it can be behind the store but not ahead of it.
 */
export class HighWaterMark {
  readonly #file: number;

  constructor(path: string) {
    closeSync(openSync(path, "a", 0o600));
    // Not for appending: there, every write would go to the end.
    this.#file = openSync(path, "r+");
  }

  /** Best effort: a disk that is full already must not turn an acknowledged write into a failure. */
  note(revision: number): void {
    try {
      writeSync(this.#file, String(revision).padStart(WIDTH, "0"), 0);
    } catch {
      return;
    }
  }

  close(): void {
    closeSync(this.#file);
  }
}

/** 0 where nothing was noted, or the note cannot be read: then there is nothing to compare with. */
export function readHighWaterMark(path: string): number {
  try {
    const text = readFileSync(path, "utf8");
    return /^[0-9]{16}$/.test(text) ? Number(text) : 0;
  } catch {
    return 0;
  }
}
