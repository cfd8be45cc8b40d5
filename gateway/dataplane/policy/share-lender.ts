/**
 * How parts of a shared limit are handed about, so that no two processes use the same one, whoever can reach whom.
 *
 * Every process that enforces the limits of a cluster owns an equal part of each. It lends that part to the gateway that leads the
 * limit, for a short time and again and again; who leads gives out as much as it was lent. A lease runs from when the leader
 * asked (by its clock) and is binding from when the question was heard (by the owner's): the later of the two, whatever the network
 * does. What an owner has lent it neither uses nor lends to another before the time is over, the borrower has confirmed that it
 * gave it back, or is known to have ended.
 */
export const LEASE_MS = 2_000;
/** How often a leader asks. */
export const POLL_MS = 500;
/** For so long a refused connection proves that nobody lives at an address. */
export const REFUSED_MS = 1_500;
/**
 * For so long a process that has just begun owns nothing: what a predecessor of it lent may be in use, or somebody may count its
 * part for that of a dead one.
 */
export const NEWCOMER_MS = LEASE_MS + REFUSED_MS + 500;

/** What an owner tells a leader. */
export interface Lend {
  /** The question that it answers: the leader's time. */
  readonly at: number;
  /** Among whom the owner looks for the leader of each limit; empty: it lends nothing. */
  readonly leaders: readonly string[];
  /** Whether it has been there for longer than `NEWCOMER_MS`. */
  readonly settled: boolean;
}

export interface LendTo extends Lend {
  readonly leader: string;
}

interface Leader {
  isConnected: boolean;
  /** When it asked last, or was met. */
  heardMs: number;
  /** Its last question; `undefined`: it has asked nothing yet. */
  at: number | undefined;
  /** The part is lent to it until then. */
  lentUntilMs: number;
  /** Lent by a view that is not ours any more. */
  isStale: boolean;
  /** Messages to it over this channel, and how many of them it must have read to have given back what is stale. */
  sent: number;
  release: number;
}

/** The owner's side: to whom its part is lent. */
export class ShareLender {
  readonly #self: string;
  readonly #startedMs: number;
  readonly #leaders = new Map<string, Leader>();
  /** Whether it can lead itself. */
  #leads: boolean;
  #isRetired = false;
  #view: readonly string[];

  constructor(self: string, leads: boolean, now: number) {
    this.#self = self;
    this.#leads = leads;
    this.#startedMs = now;
    this.#view = leads ? [self] : [];
  }

  /** Names of those who may lead, sorted; the same array until it changes. */
  get view(): readonly string[] {
    return this.#view;
  }

  isSettled(now: number): boolean {
    return now - this.#startedMs >= NEWCOMER_MS;
  }

  /** Whether nothing of its part may be in use anywhere else but where `view` says. */
  isFree(now: number): boolean {
    for (const leader of this.#leaders.values()) if (leader.isStale && leader.lentUntilMs > now) return false;
    return true;
  }

  /** Whether this leader has its part now, by the present view. */
  hasLent(leader: string, now: number): boolean {
    const known = this.#leaders.get(leader);
    return known !== undefined && !known.isStale && known.lentUntilMs > now;
  }

  /** Whether its part is its own to use. */
  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** It ends: it leads no more and lends nothing, so that others may count it for dead. */
  retire(now: number): readonly LendTo[] {
    this.#isRetired = true;
    this.#leads = false;
    return this.#review(now);
  }

  came(name: string, now: number): readonly LendTo[] {
    const known = this.#leaders.get(name);
    this.#leaders.set(name, {
      ...(known ?? { lentUntilMs: Number.NEGATIVE_INFINITY, isStale: false }),
      isConnected: true,
      heardMs: now,
      at: undefined,
      sent: 0,
      release: Number.POSITIVE_INFINITY,
    });
    return this.#review(now);
  }

  /** It cannot be reached: what it was lent stays lent. */
  went(name: string, now: number): readonly LendTo[] {
    const leader = this.#leaders.get(name);
    if (leader === undefined) return [];
    leader.isConnected = false;
    leader.release = Number.POSITIVE_INFINITY;
    return this.#review(now);
  }

  /** It has ended for certain, and what it was lent is free. */
  died(name: string, now: number): readonly LendTo[] {
    const leader = this.#leaders.get(name);
    if (leader === undefined || leader.isConnected) return [];
    this.#leaders.delete(name);
    return this.#review(now, true);
  }

  /** `processed`: how many of our messages it has read. */
  polled(name: string, at: number, processed: number, now: number): readonly LendTo[] {
    const leader = this.#leaders.get(name);
    if (leader?.isConnected !== true) return [];
    leader.heardMs = now;
    leader.at = at;
    const wasFreed = leader.isStale && processed >= leader.release;
    if (wasFreed) {
      leader.isStale = false;
      leader.lentUntilMs = Number.NEGATIVE_INFINITY;
    }
    const changes = this.#review(now, wasFreed);
    return changes.some((change) => change.leader === name)
      ? changes
      : [...changes, ...this.#lend(name, leader, now)];
  }

  /** Time passes: leases end, and who is silent for too long leads no more. */
  tick(now: number): readonly LendTo[] {
    let wasFreed = false;
    for (const [name, leader] of this.#leaders) {
      if (leader.lentUntilMs > now) continue;
      wasFreed ||= leader.isStale;
      leader.isStale = false;
      if (!leader.isConnected) this.#leaders.delete(name);
    }
    return this.#review(now, wasFreed);
  }

  /** `mustTell`: something became free, so that others may have it. */
  #review(now: number, mustTell = false): readonly LendTo[] {
    const next = [...this.#leaders]
      .filter(([, { isConnected, heardMs }]) => isConnected && now - heardMs <= LEASE_MS)
      .map(([name]) => name);
    if (this.#leads) next.push(this.#self);
    next.sort();
    const isSame = next.length === this.#view.length && next.every((name, at) => name === this.#view[at]);
    if (isSame && !mustTell) return [];
    if (!isSame) {
      this.#view = next;
      for (const leader of this.#leaders.values()) if (leader.lentUntilMs > now) leader.isStale = true;
    }
    const told: LendTo[] = [];
    // What is lent by an old view comes back first; nothing is lent by the new one before that.
    for (const [name, leader] of this.#leaders) {
      if (!isSame && leader.isStale) told.push(...this.#release(name, leader, now));
    }
    for (const [name, leader] of this.#leaders) told.push(...this.#lend(name, leader, now));
    return told;
  }

  #release(name: string, leader: Leader, now: number): readonly LendTo[] {
    if (!leader.isConnected || leader.at === undefined) return [];
    leader.sent += 1;
    leader.release = leader.sent;
    return [{ leader: name, at: leader.at, leaders: [], settled: this.isSettled(now) }];
  }

  #lend(name: string, leader: Leader, now: number): readonly LendTo[] {
    if (!leader.isConnected || leader.at === undefined || this.#isRetired) return [];
    if (!this.#view.includes(name) || !this.isFree(now)) return [];
    const untilMs = leader.heardMs + LEASE_MS;
    if (untilMs <= now) return [];
    leader.lentUntilMs = untilMs;
    leader.sent += 1;
    return [{ leader: name, at: leader.at, leaders: this.#view, settled: this.isSettled(now) }];
  }
}
