import { pickByKey } from "../balance/rendezvous.ts";
import { LEASE_MS, type Lend } from "./share-lender.ts";

/** What is known of the processes among whom each limit is divided. */
export interface Owners {
  /** How many own an equal part. */
  readonly count: number;
  /** How many of them have ended for certain: their parts are in nobody's use. */
  readonly dead: number;
  /** Whether the leader is one of them, its own part is free, and since when: `newcomer` owns nothing on its own. */
  readonly own: "settled" | "newcomer" | "none";
}

interface Lent extends Lend {
  readonly untilMs: number;
}

interface Member {
  /** Messages that it sent over its channel. */
  read: number;
  lent: Lent | undefined;
}

// How far an answer may be out of date: what is counted as dead is looked at again.
const FRESH_MS = 100;

/** The leader's side: which part of each limit it may give out. */
export class SharePool {
  readonly #self: string;
  readonly #members = new Map<string, Member>();
  readonly #known = new Map<string, { readonly part: number; readonly untilMs: number }>();

  constructor(self: string) {
    this.#self = self;
  }

  /** What to ask now: how many messages of the member were read. */
  read(member: string): number {
    return this.#member(member).read;
  }

  get members(): Iterable<string> {
    return this.#members.keys();
  }

  came(member: string): void {
    this.#known.clear();
    this.#members.set(member, { read: 0, lent: undefined });
  }

  went(member: string): void {
    this.#known.clear();
    this.#members.delete(member);
  }

  /** Answers whether the member waits to hear that this was read. */
  lent(member: string, lend: Lend, now: number): boolean {
    const known = this.#member(member);
    const isGivenBack = lend.leaders.length === 0;
    known.read += 1;
    // Never longer than if it had been asked just now, whatever the answer says.
    known.lent = isGivenBack ? undefined : { ...lend, untilMs: Math.min(lend.at, now) + LEASE_MS };
    this.#known.clear();
    return isGivenBack;
  }

  /** Lets go of everything that was lent. */
  clear(): void {
    for (const member of this.#members.values()) member.lent = undefined;
    this.#known.clear();
  }

  /** From 0 to 1. `owners` may have changed since, but not by much in `FRESH_MS`. */
  part(key: string, owners: () => Owners, now: number): number {
    const known = this.#known.get(key);
    if (known !== undefined && now < known.untilMs) return known.part;
    let untilMs = now + FRESH_MS;
    const { count, dead, own } = owners();
    let settled = own === "settled" ? 1 : 0;
    let newcomers = own === "newcomer" ? 1 : 0;
    for (const { lent } of this.#members.values()) {
      if (lent === undefined || lent.untilMs <= now || !this.#leads(lent.leaders, key)) continue;
      untilMs = Math.min(untilMs, lent.untilMs);
      if (lent.settled) settled += 1;
      else newcomers += 1;
    }
    const part = Math.min(1, usable(settled, newcomers, dead, count) / Math.max(1, count));
    this.#known.set(key, { part, untilMs });
    return part;
  }

  #leads(leaders: readonly string[], key: string): boolean {
    return pickByKey(leaders, (name) => name, key) === this.#self;
  }

  #member(name: string): Member {
    const known = this.#members.get(name) ?? { read: 0, lent: undefined };
    this.#members.set(name, known);
    return known;
  }
}

/**
 * Where all are accounted for, no part can be in use elsewhere, newcomers or not. Else the parts of the dead are for whoever was lent
 * more than half of all, which no two can be.
 */
function usable(settled: number, newcomers: number, dead: number, count: number): number {
  if (settled + newcomers + dead >= count) return count;
  return 2 * settled > count ? settled + dead : settled;
}
