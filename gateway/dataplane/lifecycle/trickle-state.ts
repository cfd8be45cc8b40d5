// Reads closer together belong to one run: nobody who waits for what the first brought can have answered it.
const SAME_RUN_MS = 0.05;
// A head and its content, or a page in a few pieces, is no trickle.
const TRICKLE_READS = 6;
// Long enough for a dozen answers of a service that is left alone, and less than a run of them takes.
const PAUSE_MS = 0.08;
// The second read of a run is followed by a pause, and each eighth after it.
const PAUSE_AT_READ = 2;
const READS_PER_PAUSE = 8;
// Who sends so much at once is waiting for us to take it.
const SMALL_BYTES = 4_096;

/**
 * Recognizes a peer that says in many small pieces what it has to say, as a service does that answers many requests of one connection
 * one by one. Each piece wakes us for a read, and where the peer runs on another core, our reading holds up its writing. Once there
 * was such a run, runs have pauses, for as long as a pause brings more than what came before it.
 */
export class TrickleState {
  #lastMs = Number.NEGATIVE_INFINITY;
  #reads = 0;
  #isTrickling = false;
  /** Since the run began, or since its last pause. */
  #bytes = 0;
  /** What had come before the pause that has just been; 0: there was none. */
  #before = 0;

  /** To be told of each read; answers for how many milliseconds there should be no other. */
  read(bytes: number, now: number): number {
    const isSameRun = now - this.#lastMs < SAME_RUN_MS;
    this.#lastMs = now;
    const wasPaused = this.#before > 0;
    if (wasPaused) this.#isTrickling = isSameRun && bytes > this.#before;
    this.#before = 0;
    if (!isSameRun) {
      this.#reads = 0;
      this.#bytes = 0;
    }
    if (bytes >= SMALL_BYTES) return 0;
    this.#reads += 1;
    // What a pause brought is not what the next one has to surpass.
    if (!wasPaused) this.#bytes += bytes;
    if (this.#reads === TRICKLE_READS) this.#isTrickling = true;
    if (!this.#isTrickling || this.#reads % READS_PER_PAUSE !== PAUSE_AT_READ) return 0;
    this.#before = this.#bytes;
    this.#bytes = 0;
    return PAUSE_MS;
  }

  /** The pause is over: what has come meanwhile belongs to the run. */
  resumed(now: number): void {
    this.#lastMs = now;
  }
}
