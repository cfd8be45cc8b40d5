import { type Rate, TokenBucket } from "./token-bucket.ts";
import { WindowCount } from "./window-count.ts";

/** What a member is given; the key is the limit's name. */
export interface Grant {
  readonly member: string;
  readonly tokens: number;
}

/**
 * The leader's side of a limit that several processes share. Members ask for a few tokens at a time and spend them on their
 * own; what nobody has asked for stays here. Tokens come from one bucket, so the sum is exact however they are spread: only
 * those that lie unspent with members count twice against the burst, which is why they are subtracted from it.
 */
export class LeaseLedger {
  #rate: Rate;
  readonly #bucket: TokenBucket;
  /** In the order in which they are served; each asks for some and holds some. */
  readonly #members = new Map<string, { wanted: number; held: number }>();
  #spentMs = Number.NEGATIVE_INFINITY;
  /** What was granted lately: what a late leader makes up for must not come on top of what is due. */
  #granted: WindowCount;

  constructor(rate: Rate, now: number, tokens?: number) {
    this.#rate = rate;
    this.#bucket = new TokenBucket(rate, now, tokens);
    this.#granted = new WindowCount(windowMs(rate), now);
  }

  setRate(rate: Rate, now: number): void {
    if (rate.perMs === this.#rate.perMs && rate.burst === this.#rate.burst) return;
    // At another part of the same limit, burst and rate change together, and the window stays.
    if (windowMs(rate) !== windowMs(this.#rate)) this.#granted = new WindowCount(windowMs(rate), now);
    this.#rate = rate;
    this.#fit(now);
  }

  /** `held`: what it still has of earlier grants. A later question replaces an earlier one. */
  ask(member: string, wanted: number, held: number, now: number): readonly Grant[] {
    this.#fit(now);
    // Who asks for the first time has spent nothing: rules came in, and nobody may come for a while.
    if (held < (this.#members.get(member)?.held ?? 0)) this.#spentMs = now;
    this.#members.delete(member);
    this.#members.set(member, { wanted, held });
    return this.settle(now);
  }

  /** Its tokens are lost with it: whoever leaves did not say how many it spent. */
  leave(member: string, now: number): void {
    this.#members.delete(member);
    this.#fit(now);
  }

  get members(): number {
    return this.#members.size;
  }

  /** Gives what there is to those who wait, evenly; called after every question and on a tick while somebody waits. */
  settle(now: number): readonly Grant[] {
    const grants: Grant[] = [];
    let waiting = [...this.#members]
      .filter(([, { wanted }]) => wanted > 0)
      .sort(([, a], [, b]) => a.wanted - b.wanted);
    while (waiting.length > 0) {
      const [first] = waiting;
      if (first === undefined) break;
      const [member, entry] = first;
      waiting = waiting.slice(1);
      const available = this.#bucket.takeUpTo(Number.MAX_SAFE_INTEGER, now);
      const fair = Math.ceil(Math.min(available, this.#allowed(now)) / (waiting.length + 1));
      const tokens = Math.min(entry.wanted, fair);
      this.#bucket.giveBack(available - tokens);
      if (tokens <= 0) break;
      this.#granted.add(tokens, now);
      entry.wanted -= tokens;
      entry.held += tokens;
      grants.push({ member, tokens });
      // The next time the others come first.
      this.#members.delete(member);
      this.#members.set(member, entry);
    }
    this.#fit(now);
    return grants;
  }

  get isWaitedFor(): boolean {
    for (const { wanted } of this.#members.values()) if (wanted > 0) return true;
    return false;
  }

  /** Of what the bucket holds: no window sees more than the rate and once the burst. */
  #allowed(now: number): number {
    const { perMs, burst } = this.#rate;
    return Math.max(0, Math.floor(perMs * windowMs(this.#rate) + burst - this.#granted.sum(now)));
  }

  #fit(now: number): void {
    let held = 0;
    for (const member of this.#members.values()) held += member.held;
    // While members spend, what comes in is owed to them, however late this process gets round to it. Once they do not, no more is
    // kept than the burst, and what they hold beyond it is owed by them: else it would come on top of the next burst.
    const { perMs, burst } = this.#rate;
    const isBusy = now - this.#spentMs < BUSY_MS;
    const isIdle = !isBusy && !this.isWaitedFor;
    const least = isIdle ? -burst : Math.max(1, perMs * (isBusy ? BUSY_MS : LEAST_WINDOW_MS));
    this.#bucket.setRate({ perMs, burst: Math.max(least, burst - held) }, now);
  }
}

/** For the usual burst, a twentieth of the limit, this is the limit's unit of time. */
function windowMs({ perMs, burst }: Rate): number {
  return perMs <= 0 ? LONGEST_WINDOW_MS : Math.min(LONGEST_WINDOW_MS, Math.round((20 * burst) / perMs));
}

const LONGEST_WINDOW_MS = 86_400_000;

/** How often a ledger that somebody waits for is settled. */
export const SETTLE_MS = 10;
const LEAST_WINDOW_MS = 3 * SETTLE_MS;
// Longer than an event loop is ever kept busy, short enough that what was saved up meanwhile is no burst.
const BUSY_MS = 250;
