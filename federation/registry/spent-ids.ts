/** Signed requests live for a minute; this is several thousand a second. */
const MAX_IDS = 200_000;

/**
 * Which request signatures were used already. Two generations instead of a timer per entry: when the younger one is
 * older than any entry can live, the elder is dropped whole.
 */
export class SpentIds {
  #elder: ReadonlySet<string> = new Set();
  #younger = new Set<string>();
  /** When everything in the younger generation will have expired. */
  #youngerUntilMs = 0;
  #elderUntilMs = 0;

  /** Whether `id` is new; it is remembered at least until `untilMs`. When full, nothing is new: refusing is the safe side. */
  spend(id: string, untilMs: number, now: number): boolean {
    if (now > this.#elderUntilMs) this.#turn();
    if (this.#younger.has(id) || this.#elder.has(id)) return false;
    if (this.#younger.size >= MAX_IDS) return false;
    this.#younger.add(id);
    this.#youngerUntilMs = Math.max(this.#youngerUntilMs, untilMs);
    return true;
  }

  #turn(): void {
    this.#elder = this.#younger;
    this.#elderUntilMs = this.#youngerUntilMs;
    this.#younger = new Set();
    this.#youngerUntilMs = 0;
  }
}
